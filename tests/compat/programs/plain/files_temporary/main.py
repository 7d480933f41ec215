"""Temporary files and folders go away, and are not those of the script's folder."""

import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "a.txt")
    path.write_text("x" * 100_000)
    print(path.stat().st_size, Path(folder).is_relative_to(Path.cwd()))
print(path.exists())
with tempfile.NamedTemporaryFile("w+", suffix=".csv") as file:
    file.write("1,2\n")
    file.seek(0)
    print(file.read(), end="")
with tempfile.SpooledTemporaryFile(max_size=10) as file:
    file.write(b"more than ten bytes")
    print(file.tell())
