"""A lock file that another process waits for."""

import subprocess
import sys

from filelock import FileLock

CHILD = """
from filelock import FileLock, Timeout
try:
    FileLock("work.lock").acquire(timeout=0.1)
except Timeout:
    print("taken")
"""
with FileLock("work.lock"):
    subprocess.run([sys.executable, "-c", CHILD], check=True)
print("released")
