"""A script that ends without flushing."""

import os

print("printed")
os._exit(0)
