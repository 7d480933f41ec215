"""The events and the plain text of a log."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastflow_contracts.runs.logs import STREAMS, Chunk, Piece
from fastflow_gateway.streaming import events
from fastflow_gateway.streaming.events import PlainText, last_lines
from tests.support.logs import log_lines

PIECES = st.lists(
    st.builds(
        Piece, st.integers(0, 1000), st.integers(0, 2), st.text(st.sampled_from('an\n",%\\\x00\x7f\u2028é'), max_size=8)
    ),
    max_size=6,
)

CHUNKS = st.lists(PIECES, max_size=5).map(
    lambda many: [
        Chunk(at=1_767_225_600.0, lines=tuple(pieces), end=(n, 0), eof=n == len(many) - 1)
        for n, pieces in enumerate(many)
    ]
)


@given(CHUNKS)
@example([Chunk(at=0.0, lines=(Piece(0, 1, '{\n  "a": "x",\n  "b": "\\",\n}\n'),), end=(0, 0))])
@example([Chunk(at=0.0, lines=(Piece(0, 1, 'a\x7fb\n",\n"\x7f\n'),), end=(0, 0))])
def test_events_have_each_line_once_and_ids_in_order(chunks: list[Chunk]) -> None:
    """Joined where they say that more follows, the events of a stream are its lines."""
    said: dict[str, list[str]] = {name: [] for name in STREAMS}
    is_open = dict.fromkeys(STREAMS, False)
    for sequence, chunk in enumerate(chunks, start=1):
        told = events.log_events(chunk, sequence, 3)
        *each, end = told.split(b"\n\n")
        assert end == b""
        for index, raw in enumerate(each):
            event_id, name, data = raw.decode().split("\n")
            assert (event_id, name) == (f"id: {sequence}:{index}", "event: log")
            assert events.behind(told, index).startswith(raw)
            line = json.loads(data.removeprefix("data: "))
            assert line["attempt"] == 3
            if is_open[line["stream"]]:
                said[line["stream"]][-1] += line["line"]
            else:
                said[line["stream"]].append(line["line"])
            is_open[line["stream"]] = line.get("more", False)
        assert events.behind(told, len(each)) == events.behind(told, len(each) + 1) == b""
    for name in STREAMS:
        assert said[name] == [line.text for line in log_lines(chunks) if line.stream == name]


def test_the_last_line_of_an_attempt_is_complete() -> None:
    """Even without a line break, on both streams. An earlier part still says that more follows."""
    pieces = (Piece(0, 1, "one\ntw"), Piece(1, 2, "careful"), Piece(2, 1, "o"))
    for eof, wanted in ((True, [False, True, False, False]), (False, [False, True, True, True])):
        told = events.log_events(Chunk(at=0.0, lines=pieces, end=(7, 7), eof=eof), 1, 1)
        assert [b'"more":true' in event for event in told.split(b"\n\n")[:-1]] == wanted


@given(CHUNKS)
def test_plain_text_is_what_was_written(chunks: list[Chunk]) -> None:
    """One stream comes out byte for byte; with several, only line breaks are added."""
    one = [Chunk(at=c.at, lines=tuple(Piece(p.ms, 1, p.text) for p in c.lines), end=c.end) for c in chunks]
    reader = PlainText()
    assert "".join(reader.text(chunk, 1) for chunk in one) == "".join(p.text for c in one for p in c.lines)
    reader = PlainText()
    text = "".join(reader.text(chunk, 1) for chunk in chunks)
    assert text.replace("\n", "") == "".join(p.text for c in chunks for p in c.lines).replace("\n", "")


@given(st.lists(st.text("ab\n\r\u2028", max_size=6), max_size=8), st.integers(1, 4))
def test_the_tail_is_the_end_of_the_text(parts: list[str], lines_max: int) -> None:
    """And it is known whether there is more before it."""
    text, has_more = last_lines("".join(parts), lines_max)
    *ended, rest = "".join(parts).split("\n")
    whole = [line + "\n" for line in ended] + ([rest] if rest else [])
    assert text == "".join(whole[-lines_max:])
    assert has_more == (len(whole) > lines_max)


@pytest.mark.parametrize(
    ("text", "event_id"),
    [("12:3", (12, 3)), ("12", (12, 0)), (None, (0, -1)), ("", (0, -1)), ("x", (0, -1)), ("1:2:3", (0, -1))],
)
def test_an_event_id_is_read_back(text: str | None, event_id: tuple[int, int]) -> None:
    """Any other text means the beginning."""
    assert events.parse_event_id(text) == event_id
