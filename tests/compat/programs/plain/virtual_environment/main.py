"""``python -m venv`` makes an environment with pip, in a folder of the run."""

import subprocess
import sys
import tempfile

with tempfile.TemporaryDirectory() as folder:
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    command = [f"{folder}/bin/python", "-m", "pip", "--version"]
    print(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0])
