"""A child that takes too long is killed by its parent; a command that fails is an error."""

import subprocess

try:
    subprocess.run(["sleep", "60"], timeout=0.2)
except subprocess.TimeoutExpired as error:
    print("timeout", error.cmd)
try:
    subprocess.run(["sh", "-c", "exit 9"], check=True)
except subprocess.CalledProcessError as error:
    print("failed", error.returncode)
try:
    subprocess.run(["no-such-program"])
except FileNotFoundError as error:
    print("missing", error.filename)
