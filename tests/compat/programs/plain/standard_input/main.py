"""Nothing is typed: standard input is at its end."""

import sys

print(repr(sys.stdin.read()), sys.stdin.isatty())
try:
    input("your name? ")
except EOFError as error:
    print(error)
