"""Text that cannot be written is an error; with the right handler it is escaped."""

import sys

try:
    print("\udcff")
except UnicodeEncodeError as error:
    print(error.reason)
sys.stdout.reconfigure(errors="backslashreplace")
print("\udcff")
