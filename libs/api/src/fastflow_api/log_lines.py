"""Joins the parts of lines. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from fastflow_api.shapes import LogLine, PartialLine


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


class TextJoiner:
    """Turns lines and parts of open lines into the text that each of them adds, separately for each stream."""

    def __init__(self) -> None:
        self._ahead: dict[tuple[int, str], int] = {}
        """How many characters of the open line were returned that no LogLine has held yet."""

    def feed(self, part: LogLine | PartialLine) -> str:
        """Return the new text of *part*, with the line's end if it is complete."""
        key = (part.attempt, part.stream)
        ahead = self._ahead.pop(key, 0)
        if isinstance(part, PartialLine):
            self._ahead[key] = max(ahead, part.start + len(part.text))
            return part.text[max(0, ahead - part.start) :]
        if ahead > len(part.line):
            self._ahead[key] = ahead - len(part.line)
        return part.line[ahead:] + ("" if part.more else "\n")


def _joined(parts: list[LogLine]) -> LogLine:
    return replace(parts[-1], line="".join(part.line for part in parts), more=False)
