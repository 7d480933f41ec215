"""Reads whole logs back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fastflow_contracts.runs.logs import Chunk, LogReader, OutputLine


def log_lines(chunks: Iterable[Chunk]) -> Iterator[OutputLine]:
    """Yield all lines of a log from its first chunk."""
    reader = LogReader()
    for chunk in chunks:
        yield from reader.feed(chunk)
    yield from reader.close()
