"""``sys.exit`` with a text: it goes to standard error, and the code is 1."""

import sys

print("something is missing")
sys.exit("no input file: rows.csv")
