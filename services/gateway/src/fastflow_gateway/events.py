"""Stored log chunks and samples as server-sent events and as plain text. Pure.

The id of a log event is ``<stream sequence>:<index in its chunk>``: where a follower that comes back goes on.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from fastflow_contracts import logs, messages
from fastflow_contracts.logs import Chunk
from fastflow_gateway import views

RETRY: Final = b"retry: 2000\n\n"
"""Milliseconds after which a browser that lost the stream asks again."""
HEARTBEAT: Final = b": still here\n\n"

_json = msgspec.json.encode


class Place(NamedTuple):
    """The last event somebody has: ``line`` of message ``sequence``. (0, -1) is before everything."""

    sequence: int
    line: int


START: Final = Place(0, -1)


def parse_place(text: str | None) -> Place:
    """What ``Last-Event-ID`` says; anything that is no id of ours is the start."""
    match = re.fullmatch(r"([0-9]{1,18})(?::([0-9]{1,9}))?", text or "")
    return Place(int(match[1]), int(match[2] or 0)) if match else START


def event(name: str, data: Any, *, event_id: str | None = None) -> bytes:
    """One event; *data* becomes JSON, which has no line breaks."""
    head = f"id: {event_id}\n" if event_id is not None else ""
    return f"{head}event: {name}\ndata: ".encode() + _json(data) + b"\n\n"


def log_events(chunk: Chunk, sequence: int, attempt: int) -> tuple[bytes, ...]:
    """One ``log`` event (``shapes.LogLine``) for each line, or part of a line, of a chunk."""
    return tuple(_log_events(chunk, sequence, attempt))


def _log_events(chunk: Chunk, sequence: int, attempt: int) -> Iterator[bytes]:
    index = 0
    for piece in chunk.lines:
        ts = datetime.fromtimestamp(chunk.at + piece.ms / 1000, UTC)
        # Written by hand: a flood of lines passes here, and only the text differs from line to line.
        head = b'{"ts":%s,"stream":"%s","attempt":%d,"line":' % (
            _json(ts),
            logs.STREAMS[piece.stream].encode(),
            attempt,
        )
        *whole, rest = piece.text.split("\n")
        for line in whole:
            yield b"id: %d:%d\nevent: log\ndata: %s%s}\n\n" % (sequence, index, head, _json(line))
            index += 1
        if rest:
            yield b'id: %d:%d\nevent: log\ndata: %s%s,"more":true}\n\n' % (sequence, index, head, _json(rest))
            index += 1


def sample_events(sample: messages.Sample, sequence: int, attempt: int) -> tuple[bytes, ...]:
    """The one ``sample`` event of a sample."""
    return (event("sample", views.sample(sample, attempt), event_id=str(sequence)),)


class PlainText:
    """Chunks of all attempts in, text out, as a terminal would have shown it. Holds nothing back.

    A line that is still open when another stream or attempt speaks is ended there.
    """

    def __init__(self) -> None:
        self._open: tuple[int, int] | None = None
        """Attempt and stream of the line that is not ended yet."""

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


class Tail:
    """The last lines of a text that comes in parts."""

    def __init__(self, lines_max: int) -> None:
        self._lines: deque[str] = deque(maxlen=lines_max)
        self._is_open = False

    def add(self, text: str) -> None:
        for line in re.findall(r"[^\n]*\n|[^\n]+", text):  # splitlines would also part at a progress bar's \r
            if self._is_open:
                self._lines[-1] += line
            else:
                self._lines.append(line)
            self._is_open = not line.endswith("\n")

    def text(self) -> str:
        return "".join(self._lines)
