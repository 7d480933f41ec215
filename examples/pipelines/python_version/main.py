"""Runs on the Python its metadata names. Change python_version to "3.13" and the next run uses that, fetched once."""

import sys
import tomllib  # new in 3.11

settings = tomllib.loads("""
[greeting]
words = ["pinned", "and", "precise"]
""")
print("Python", sys.version)
print(" ".join(settings["greeting"]["words"]))
