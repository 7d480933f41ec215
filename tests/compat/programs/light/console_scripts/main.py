"""Commands that packages bring are on the PATH."""

import shutil
import subprocess

print([bool(shutil.which(name)) for name in ("markdown_py", "tqdm", "tabulate")])
print(subprocess.run(["tabulate", "-s", ",", "-1"], input="a,b\n1,2\n", capture_output=True, text=True).stdout)
print(subprocess.run(["tqdm", "--null"], input="x\n", capture_output=True, text=True).returncode)
