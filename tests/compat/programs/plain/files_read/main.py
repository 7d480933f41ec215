"""Data beside the script, in text and bytes; the folder is writable."""

import csv
import json
from pathlib import Path

here = Path(__file__).parent
with open(here / "data" / "rows.csv", newline="", encoding="utf-8") as file:
    rows = list(csv.DictReader(file))
print(rows)
print(json.loads((here / "data" / "settings.json").read_text()))
print((here / "data" / "bytes.bin").read_bytes())
(here / "data" / "rows.csv").write_text("changed\n")
(here / "data" / "bytes.bin").unlink()
