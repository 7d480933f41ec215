"""A script that ends with a code of its own, after its clean-up."""

import atexit
import sys

atexit.register(print, "cleaned up")
print("ends with 3")
sys.exit(3)
