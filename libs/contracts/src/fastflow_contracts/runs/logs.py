"""The log of an attempt on the wire, and a reader for its lines. No I/O.

A log is a sequence of chunks on ``ff.log.<pipeline>.<run>.<attempt>``. A chunk holds pieces of text in order of
arrival. The joined pieces of a stream are exactly what the script wrote, with invalid UTF-8 replaced and secrets
masked. A piece holds any number of whole lines, each with its ``\\n``. Only a very long line or an unterminated last
line ends a piece without ``\\n``; the next piece of that stream continues the line.

A line that stays open is shown before it is complete: a chunk may hold text that an open line has got. That is for
followers only. The pieces hold the same text again once the line is complete.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from fastflow_contracts.base import Count, UnixTime
from fastflow_contracts.codec import Codec

LogStream: TypeAlias = Literal["system", "stdout", "stderr"]

STREAMS: Final[tuple[LogStream, ...]] = ("system", "stdout", "stderr")
"""A stream's number on the wire is its index here. ``system`` holds the runner's messages and the output of uv."""

CHUNK_BYTES_MAX: Final = 256 * 1024
"""The largest size of an encoded chunk."""
CHUNK_S: Final = 0.05
"""Seconds that a complete line may wait for its chunk to fill."""
OPEN_S: Final = 0.4
"""Seconds that new text of an open line waits until it is shown: two or three updates a second."""


class Piece(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Text of one stream that arrived at one time: ``[ms, stream, text]``, with ``ms`` after the chunk's ``at``."""

    ms: Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31)]
    stream: Annotated[int, msgspec.Meta(ge=0, le=2)]
    text: str


class OpenText(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Text of a line that is not complete yet: ``[stream, start, text]``."""

    stream: Annotated[int, msgspec.Meta(ge=0, le=2)]
    start: Count
    """Its place in the line: how many characters lie between the last piece of the stream and this text."""
    text: str


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """A part of one attempt's log."""

    v: Count = 1
    at: UnixTime
    lines: tuple[Piece, ...] = ()
    end: tuple[Count, Count]
    """How many bytes of stdout and of stderr this chunk and all earlier ones cover."""
    truncated: bool = False
    """The log is full: from here on output is counted in ``end`` but not stored."""
    eof: bool = False
    """The attempt's last chunk."""
    open: OpenText | msgspec.UnsetType = msgspec.UNSET
    """What an open line has got at ``at``."""


CHUNK: Final = Codec(Chunk)


class OutputLine(msgspec.Struct, frozen=True, gc=False):
    """One line without its ``\\n``. ``at`` is the unix time in seconds at which it was complete."""

    at: float
    stream: LogStream
    text: str


class LogReader:
    """Turn the chunks of one attempt into lines, in the order in which the lines were completed.

    A chunk equal to the previous one is ignored: the publisher repeats a chunk when it does not know whether it was
    stored. Reading may start at any chunk; the rest of a very long line then counts as a line.

    Args:
        line_characters_max: Longest line; the rest of it is left out, and the line ends with a mark. 0 = no limit.
    """

    def __init__(self, *, line_characters_max: int = 0) -> None:
        self._line_characters_max = line_characters_max
        self._open: list[list[str]] = [[] for _ in STREAMS]
        self._open_characters = [0] * len(STREAMS)
        """How long the open lines are, with what is left out."""
        self._open_at = [0.0] * len(STREAMS)
        self._last: Chunk | None = None

    def feed(self, chunk: Chunk) -> list[OutputLine]:
        """Return the lines that *chunk* completes."""
        if chunk == self._last:
            return []
        self._last = chunk
        lines: list[OutputLine] = []
        for piece in chunk.lines:
            at, name, open_ = chunk.at + piece.ms / 1000, STREAMS[piece.stream], self._open[piece.stream]
            *whole, rest = piece.text.split("\n")
            if whole and open_:
                self._add(piece.stream, whole[0])
                whole[0] = self._taken(piece.stream)
            lines += [OutputLine(at, name, text) for text in whole]
            if rest:
                self._add(piece.stream, rest)
                self._open_at[piece.stream] = at
        return lines + self.close() if chunk.eof else lines

    def close(self) -> list[OutputLine]:
        """Return the unterminated last lines. Call it after the last chunk."""
        return [
            OutputLine(self._open_at[stream], name, self._taken(stream))
            for stream, name in enumerate(STREAMS)
            if self._open[stream]
        ]

    def _add(self, stream: int, text: str) -> None:
        """Continue the open line of *stream*."""
        known = self._open_characters[stream]
        self._open_characters[stream] = known + len(text)
        if not self._line_characters_max:
            self._open[stream].append(text)
        elif known < self._line_characters_max:
            self._open[stream].append(text[: self._line_characters_max - known])

    def _taken(self, stream: int) -> str:
        """End the open line of *stream*, and return it."""
        text, characters = "".join(self._open[stream]), self._open_characters[stream]
        self._open[stream].clear()
        self._open_characters[stream] = 0
        return text if len(text) == characters else f"{text} … [{characters - len(text)} more characters]"
