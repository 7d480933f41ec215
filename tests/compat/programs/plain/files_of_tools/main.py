"""Caches and files of editors that lie in the folder, beside a folder with a dot that a script reads."""

from pathlib import Path

print(sorted(path.as_posix() for path in Path().rglob("*") if path.is_file()))
print(Path(".settings/shop.toml").read_text(), end="")
