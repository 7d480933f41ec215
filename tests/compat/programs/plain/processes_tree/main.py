"""Children of children, in a session of their own, that the script waits for."""

import subprocess
import sys

LEAF = "import os, sys; print('leaf', os.getsid(0) == os.getpid()); sys.exit(6)"
NODE = f"""
import subprocess, sys
ended = subprocess.run([sys.executable, "-c", {LEAF!r}], start_new_session=True, capture_output=True, text=True)
print("node saw", ended.returncode, ended.stdout.strip())
"""
for _ in range(2):
    subprocess.run([sys.executable, "-c", NODE], check=True)
process = subprocess.Popen(["sleep", "60"])
process.terminate()
print("killed", process.wait())
