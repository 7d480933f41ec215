"""Reads whole logs back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fastflow_contracts.runs.logs import Chunk, LogLine, LogReader


def log_lines(chunks: Iterable[Chunk]) -> Iterator[LogLine]:
    """Return all lines of a log, given from its first chunk on."""
    reader = LogReader()
    for chunk in chunks:
        yield from reader.feed(chunk)
    yield from reader.close()
