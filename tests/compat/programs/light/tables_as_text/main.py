"""Tables, sizes and durations for people."""

from datetime import timedelta

import humanize
from tabulate import tabulate

rows = [["apple", 1.2, None], ["Birne", 250, "grün"]]
for style in ("simple", "github", "grid"):
    print(tabulate(rows, headers=["name", "price", "note"], tablefmt=style))
print(humanize.naturalsize(123_456_789), humanize.precisedelta(timedelta(hours=3, seconds=5)), humanize.intcomma(10**9))
