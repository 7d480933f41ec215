"""Both streams, again and again."""

import sys

for number in range(500):
    print("out", number)
    print("err", number, file=sys.stderr)
