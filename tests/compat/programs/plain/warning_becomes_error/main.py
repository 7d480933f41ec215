"""A filter makes a warning an error."""

import warnings

warnings.simplefilter("error")
try:
    warnings.warn("careful", RuntimeWarning)
except RuntimeWarning as warning:
    print("raised:", warning)
