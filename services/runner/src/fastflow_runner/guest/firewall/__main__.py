"""Carry out one command.

The folder's parent goes last on the path, so that names beside the folder never shadow the standard library.
"""

import importlib
import os
import sys

if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here] + [os.path.dirname(here)]
    sys.exit(importlib.import_module(f"{os.path.basename(here)}.command").main())
