# /// script
# requires-python = ">=3.9"
# dependencies = []
# ///
"""A block that names an interpreter and no packages."""

import sys

print(sys.version_info >= (3, 9))
