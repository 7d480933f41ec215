"""``python`` and ``python3`` on the PATH are the interpreter that runs the script."""

import subprocess
import sys

CODE = "import sys; print(sys.version_info[:2], sys.prefix)"
for name in ("python", "python3"):
    found = subprocess.run([name, "-c", CODE], capture_output=True, text=True, check=True).stdout
    print(found == f"{sys.version_info[:2]} {sys.prefix}\n")
