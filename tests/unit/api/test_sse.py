"""Events are read from pieces that are cut anywhere. Pure."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastflow_api.sse import Event, EventReader

STREAM = b"retry: 2000\n\nid: 1:0\nevent: log\ndata: {}\n\n: still here\n\nevent: end\ndata: a\ndata: b\n\nevent: cut"
EVENTS = [Event("log", b"{}", "1:0"), Event("end", b"a\nb", None)]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20).map(sorted))
def test_events_are_read_wherever_they_are_cut(cuts: list[int]) -> None:
    """Comments and heartbeats are not events; an incomplete event waits for its rest."""
    reader = EventReader()
    pieces = [STREAM[start:end] for start, end in zip([0, *cuts], [*cuts, len(STREAM)], strict=True)]
    assert [event for piece in pieces for event in reader.feed(piece)] == EVENTS
