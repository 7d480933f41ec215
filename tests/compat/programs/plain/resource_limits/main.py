"""Limits that a script sets for itself: open files, and processor time of a child."""

import resource
import subprocess
import sys

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
files = []
try:
    while True:
        files.append(open("main.py"))
except OSError as error:
    print(error.strerror, len(files) > 40)
for file in files:
    file.close()
limited = "import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 1))\nwhile True: pass"
print(subprocess.run([sys.executable, "-c", limited]).returncode)
