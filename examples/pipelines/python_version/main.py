"""Runs on the Python version in its metadata.

Change python_version to "3.13": the next run downloads it once and uses it.
"""

import sys
import tomllib  # new in 3.11

settings = tomllib.loads("""
[greeting]
words = ["pinned", "and", "precise"]
""")
print("Python", sys.version)
print(" ".join(settings["greeting"]["words"]))
