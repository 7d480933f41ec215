"""Starts one step. The folder is found as a package beside its neighbours, whose names cannot stand in the way of the
standard library's: they come last.
"""

import importlib
import os
import sys

if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here] + [os.path.dirname(here)]
    sys.exit(importlib.import_module(f"{os.path.basename(here)}.steps").main())
