"""The hash of text differs from run to run unless a seed is set, so the seed is not ours to choose."""

import os
import subprocess
import sys

print("PYTHONHASHSEED" in os.environ, sys.flags.hash_randomization)
CODE = "print(hash('text'))"
fixed = {**os.environ, "PYTHONHASHSEED": "1"}
hashes = {subprocess.run([sys.executable, "-c", CODE], env=fixed, capture_output=True).stdout for _ in range(2)}
print(len(hashes))
