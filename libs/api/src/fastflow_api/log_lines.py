"""Joins the parts of long lines. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from fastflow_api.shapes import LogLine


class LineJoiner:
    """Takes parts of lines and returns whole lines, separately for each attempt and stream."""

    def __init__(self) -> None:
        self._open: dict[tuple[int, str], list[LogLine]] = {}

    def feed(self, part: LogLine) -> LogLine | None:
        """Return the line that *part* completes, with the time of its last part, or None."""
        key = (part.attempt, part.stream)
        if part.more:
            self._open.setdefault(key, []).append(part)
            return None
        if key not in self._open:
            return part
        return _joined([*self._open.pop(key), part])

    def close(self) -> Iterator[LogLine]:
        """Yield the lines whose last part never came."""
        while self._open:
            yield _joined(self._open.pop(next(iter(self._open))))


def _joined(parts: list[LogLine]) -> LogLine:
    return replace(parts[-1], line="".join(part.line for part in parts), more=False)
