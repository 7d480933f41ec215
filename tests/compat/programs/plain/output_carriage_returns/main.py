"""A progress line that is drawn over itself, form feeds and tabs."""

import sys

for percent in range(0, 101, 20):
    print(f"\r{percent:3d} %", end="", file=sys.stderr)
print(file=sys.stderr)
print("a\tb\vc\fd\x00e")
print("first\r\nsecond\rthird\n\n\nlast", end="")
