"""How responses are read: events cut anywhere, lines in parts, errors. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_api.errors import ApiError, BadRequest, TooMany, Unreachable, error_of
from fastflow_api.log_lines import LineJoiner
from fastflow_api.shapes import LogLine
from fastflow_api.sse import Event, EventReader

STREAM = b"retry: 2000\n\nid: 1:0\nevent: log\ndata: {}\n\n: still here\n\nevent: end\ndata: a\ndata: b\n\nevent: cut"
EVENTS = [Event("log", b"{}", "1:0"), Event("end", b"a\nb", None)]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20).map(sorted))
def test_events_are_read_wherever_they_are_cut(cuts: list[int]) -> None:
    """Comments and heartbeats are not events; an incomplete event waits for its rest."""
    reader = EventReader()
    pieces = [STREAM[start:end] for start, end in zip([0, *cuts], [*cuts, len(STREAM)], strict=True)]
    assert [event for piece in pieces for event in reader.feed(piece)] == EVENTS


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


@pytest.mark.parametrize(
    ("status", "kind"), [(400, BadRequest), (413, BadRequest), (418, BadRequest), (500, ApiError), (503, Unreachable)]
)
def test_each_status_has_its_own_error(status: int, kind: type[ApiError]) -> None:
    """The error has the server's sentence."""
    error = error_of(status, "say so")
    assert (type(error), str(error), error.status) == (kind, "say so", status)


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), (None, None), ("Mon, 02 Mar 2026", None), ("-1", 0.0)])
def test_retry_after_is_read_in_seconds(header: str | None, seconds: float | None) -> None:
    """A date is not a number of seconds."""
    error = error_of(429, "later", retry_after=header)
    assert isinstance(error, TooMany)
    assert error.retry_after == seconds
