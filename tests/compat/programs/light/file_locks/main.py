"""A lock file that another process waits for."""

import subprocess
import sys

from filelock import FileLock, Timeout

with FileLock("work.lock"):
    code = "from filelock import FileLock, Timeout\ntry: FileLock('work.lock').acquire(timeout=0.1)\nexcept Timeout: print('taken')"
    subprocess.run([sys.executable, "-c", code], check=True)
print("released")
