"""Stored log chunks as server-sent events and as plain text. Pure.

The id of a log event is ``<stream sequence>:<index in its chunk>``: a follower that reconnects continues after it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import chain
from typing import Final, NamedTuple

import msgspec

from fastflow_api.shapes import PartialLine
from fastflow_contracts.runs import logs
from fastflow_contracts.runs.logs import Chunk, OpenText
from fastflow_gateway.http.sse import event

_encode = msgspec.json.encode


class EventId(NamedTuple):
    """The last event that a follower has: ``line`` of message ``sequence``. (0, -1) is before everything."""

    sequence: int
    line: int


START: Final = EventId(0, -1)


def parse_event_id(text: str | None) -> EventId:
    """Parse ``Last-Event-ID``. Anything that is not our id means the start."""
    match = re.fullmatch(r"([0-9]{1,18})(?::([0-9]{1,9}))?", text or "")
    return EventId(int(match[1]), int(match[2] or 0)) if match else START


def behind(events: bytes, count: int) -> bytes:
    """*events* without the first *count*."""
    return b"".join(events.split(b"\n\n", count)[count:])


def log_events(chunk: Chunk, sequence: int, attempt: int) -> bytes:
    """Render a chunk: one ``log`` event (``shapes.LogLine``) for each line or part of a line, then open lines.

    This path is hot. Only number and text differ from line to line, so a piece is one repeated format, and all its
    lines become JSON at once.
    """
    parts: list[bytes] = []
    index = 0
    # Nothing follows the last piece of a stream in the attempt's last chunk, even if its line has no end.
    last = {piece.stream: number for number, piece in enumerate(chunk.lines)} if chunk.eof else {}
    for number, piece in enumerate(chunk.lines):
        form = b'id: %d:%%d\nevent: log\ndata: {"ts":%s,"stream":"%s","attempt":%d,"line":"%%s"' % (
            sequence,
            _encode(datetime.fromtimestamp(chunk.at + piece.ms / 1000, UTC)),
            logs.STREAMS[piece.stream].encode(),
            attempt,
        )
        whole, newline, rest = piece.text.rpartition("\n")
        if newline:
            text = _encode(whole)[1:-1]
            # The text has no backslash, so each one in the JSON begins an escape, and this escape is a line's end.
            lines = text.split(b"\\n") if b"\\\\" not in text else [_encode(line)[1:-1] for line in whole.split("\n")]
            parts.append((form + b"}\n\n") * len(lines) % tuple(chain.from_iterable(enumerate(lines, index))))
            index += len(lines)
        if rest:
            end = b"}\n\n" if last.get(piece.stream) == number else b',"more":true}\n\n'
            parts.append((form + end) % (index, _encode(rest)[1:-1]))
            index += 1
    if chunk.open:
        parts.append(_partial(chunk.at, chunk.open, attempt))
    return b"".join(parts)


def _partial(at: float, text: OpenText, attempt: int) -> bytes:
    """Render text of an open line. It has no id: after a reconnection it may come again, and the whole line follows."""
    stream = logs.STREAMS[text.stream]
    moment = datetime.fromtimestamp(at, UTC)
    return event("partial", PartialLine(ts=moment, stream=stream, attempt=attempt, start=text.start, text=text.text))


class PlainText:
    """Turns the chunks of all attempts into text, as a terminal shows it. Holds nothing back.

    An open line ends when another stream or attempt writes.
    """

    def __init__(self) -> None:
        self._open: tuple[int, int] | None = None
        """Attempt and stream of the open line."""

    def text(self, chunk: Chunk, attempt: int) -> str:
        parts: list[str] = []
        for piece in chunk.lines:
            if not piece.text:
                continue
            source = (attempt, piece.stream)
            if self._open not in (None, source):
                parts.append("\n")
            parts.append(piece.text)
            self._open = None if piece.text.endswith("\n") else source
        return "".join(parts)


def last_lines(text: str, lines_max: int) -> tuple[str, bool]:
    """The last *lines_max* lines of *text*, and whether there are more."""
    end = len(text) - text.endswith("\n")
    for _ in range(lines_max):
        end = text.rfind("\n", 0, end)
        if end < 0:
            return text, False
    return text[end + 1 :], True
