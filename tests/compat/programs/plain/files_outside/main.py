"""A file beside the folder of the script."""

from pathlib import Path

print(Path("../beside.txt").exists())
