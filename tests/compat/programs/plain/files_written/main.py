"""Files, folders, links, modes and a large one."""

import os
from pathlib import Path

Path("out/deep/er").mkdir(parents=True)
Path("out/empty").mkdir()
Path("out/text.txt").write_text("äöü\n", encoding="utf-8")
Path("out/deep/er/bytes.bin").write_bytes(bytes(range(256)) * 4096)
Path("out/tool.sh").write_text("#!/bin/sh\necho ran\n")
Path("out/tool.sh").chmod(0o755)
os.symlink("text.txt", "out/link")
Path("out/grün & blau.txt").write_text("a name with spaces")
Path("out/.hidden").write_text("")
with open("log.txt", "a") as file:
    for number in range(3):
        print(number, file=file)
print(sorted(str(path) for path in Path().rglob("*") if path.name != "main.py"))
