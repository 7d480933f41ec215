"""File locks between a script and its child."""

import fcntl
import subprocess
import sys

CHILD = """
import fcntl
file = open("lock", "w")
try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print("free")
except BlockingIOError:
    print("taken")
"""
with open("lock", "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    subprocess.run([sys.executable, "-c", CHILD], check=True)
subprocess.run([sys.executable, "-c", CHILD], check=True)
