"""``python -m`` and ``runpy`` for a package of the folder."""

import runpy
import subprocess
import sys

subprocess.run([sys.executable, "-m", "app", "one", "zwei"], check=True)
print(runpy.run_path("app/__main__.py", run_name="other")["ARGUMENTS"])
