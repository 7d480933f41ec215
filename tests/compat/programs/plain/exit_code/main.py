"""A script that ends with its own exit code, after its clean-up."""

import atexit
import sys

atexit.register(print, "cleaned up")
print("ends with 3")
sys.exit(3)
