"""Variables that a script sets reach its children, and those of Python itself are not set."""

import os
import subprocess
import sys

os.environ["GREETING"] = "grüß dich"
print(subprocess.run(["sh", "-c", "echo $GREETING"], capture_output=True, text=True).stdout, end="")
del os.environ["GREETING"]
code = "import os; print(os.environ.get('GREETING'))"
print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout, end="")
print([name for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONOPTIMIZE") if name in os.environ])
print(os.path.isdir(os.environ["HOME"]), os.access(os.environ["HOME"], os.W_OK), os.path.expanduser("~") != "~")
