"""Copy, move, remove, and the times of files."""

import os
import shutil
from pathlib import Path

Path("a.txt").write_text("one")
os.utime("a.txt", (1_000_000_000, 1_000_000_000))
shutil.copy2("a.txt", "b.txt")
print(Path("b.txt").stat().st_mtime)
Path("folder").mkdir()
shutil.move("a.txt", "folder/a.txt")
shutil.copytree("folder", "copy")
shutil.rmtree("folder")
os.replace("b.txt", "copy/b.txt")
print(sorted(os.listdir("copy")), shutil.which("sh") is not None)
