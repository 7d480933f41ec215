"""A column that is not there: caught, and then the script fails on purpose."""

import sys

import pandas as pd

frame = pd.DataFrame({"price": [1, 2]})
try:
    frame["prize"]
except KeyError as error:
    print("no column", error, file=sys.stderr)
    sys.exit(2)
