"""Notes and a custom exception hook."""

import sys


class RowError(Exception):
    pass


def hook(kind, error, traceback):
    print("hook:", kind.__name__, error, getattr(error, "__notes__", []), file=sys.stderr)


sys.excepthook = hook
problem = RowError("row 7")
problem.add_note("the column `price` is empty")
raise problem
