"""A bag of lines from files, counted."""

from pathlib import Path

import dask.bag as db

for number in range(3):
    Path(f"part-{number}.txt").write_text("one two\nzwei two\n" * (number + 1))
words = db.read_text("part-*.txt").str.split().flatten()
print(sorted(words.frequencies(sort=True).compute(scheduler="synchronous")))
