"""Lines of a log that come in parts. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from fastflow_api.log_lines import LineJoiner
from fastflow_api.shapes import LogLine


def part(text: str, *, stream: str = "stdout", attempt: int = 1, more: bool = False) -> LogLine:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return LogLine(ts=at, stream=stream, attempt=attempt, line=text, more=more)  # type: ignore[arg-type]


def test_parts_of_a_line_are_joined_by_stream_and_attempt() -> None:
    """Output of other streams may come between the parts. A line without an end comes last."""
    joiner = LineJoiner()
    parts = [
        part("a", more=True),
        part("error", stream="stderr"),
        part("b", more=True),
        part("open", attempt=2, more=True),
        part("c"),
    ]
    assert [line.line for each in parts if (line := joiner.feed(each))] == ["error", "abc"]
    assert [(line.line, line.attempt, line.more) for line in joiner.close()] == [("open", 2, False)]
    assert list(joiner.close()) == []
