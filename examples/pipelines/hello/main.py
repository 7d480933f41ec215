"""The smallest pipeline: a folder and this file."""

import os
import platform

name = os.environ.get("NAME", "world")
print(f"Hello, {name}! This is Python {platform.python_version()}.")
