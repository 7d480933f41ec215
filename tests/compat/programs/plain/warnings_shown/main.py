"""A warning goes to standard error, with its line."""

import warnings

warnings.warn("the column `id` will become `key`")
warnings.warn("shown by default in main", DeprecationWarning)
print("done")
