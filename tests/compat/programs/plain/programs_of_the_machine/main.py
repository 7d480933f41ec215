"""Programs that are installed on the machine, not by a package."""

import shutil

print(shutil.which("sh") is not None, shutil.which("tar") is not None)
print(shutil.which("git") is not None)
