"""Whole logs, read back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fastflow_contracts.runs.logs import Chunk, LogLine, LogReader


def log_lines(chunks: Iterable[Chunk]) -> Iterator[LogLine]:
    """All lines of a log that is read from its first chunk on."""
    reader = LogReader()
    for chunk in chunks:
        yield from reader.feed(chunk)
    yield from reader.close()
