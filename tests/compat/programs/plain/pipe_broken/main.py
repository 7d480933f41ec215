"""Writing to a pipe without a reader is an error, not a silent death."""

import os

read, write = os.pipe()
os.close(read)
try:
    os.write(write, b"x")
except BrokenPipeError as error:
    print(type(error).__name__, error.errno)
