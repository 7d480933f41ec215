"""Modules and packages beside the script, data inside a package, and a compiled cache that does not matter."""

import importlib.resources
import sys

import helper
from pack import inner
from pack.deeper import answer

print(helper.NAME, inner.double(21), answer())
print(importlib.resources.files("pack").joinpath("words.txt").read_text().split())
print([name in sys.modules for name in ("pack", "pack.deeper", "helper")])
