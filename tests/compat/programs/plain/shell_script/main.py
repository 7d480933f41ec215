"""A shell script beside the script: pipes, exit codes, and what it prints."""

import os
import subprocess

print(subprocess.run("printf '3\\n1\\n2\\n' | sort | head -n 2", shell=True, capture_output=True, text=True).stdout)
ended = subprocess.run(["sh", "./step.sh", "arg"], capture_output=True, text=True)
print(ended.returncode, ended.stdout, ended.stderr)
print(os.system("exit 3") >> 8, os.popen("echo $((6 * 7))").read())
