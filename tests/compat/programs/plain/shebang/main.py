"""A tool of the folder, started by its first line."""

import subprocess

print(subprocess.run(["./tool", "a b"], capture_output=True, text=True, check=True).stdout)
