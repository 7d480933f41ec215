"""The log of an attempt on the wire, and how its lines are read back. Pure.

A log is a sequence of chunks on ``ff.log.<pipeline>.<run>.<attempt>``. A chunk holds pieces of text in the order
in which they arrived. Joined per stream they are exactly what the script wrote (bytes that are no UTF-8 replaced,
secrets masked): a piece holds any number of whole lines, each with its ``\\n``; only a very long line and an
unterminated last one leave a piece without it, and the next piece of that stream goes on where it stopped.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from fastflow_contracts.codec import Codec

LogStream: TypeAlias = Literal["system", "stdout", "stderr"]

STREAMS: Final[tuple[LogStream, ...]] = ("system", "stdout", "stderr")
"""A stream's number on the wire is its index here. ``system``: the runner's own words (uv's output, truncation)."""

CHUNK_BYTES_MAX: Final = 256 * 1024
"""Of one chunk as encoded."""
CHUNK_S: Final = 0.05
"""How long a complete line may wait for its chunk to fill."""


class Piece(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Text of one stream that arrived at one moment: ``[milliseconds after the chunk's ``at``, stream, text]``."""

    ms: int
    stream: Annotated[int, msgspec.Meta(ge=0, le=2)]
    text: str


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """A part of one attempt's log."""

    v: int = 1
    at: float
    """Unix time, seconds."""
    lines: tuple[Piece, ...] = ()
    end: tuple[int, int]
    """How many bytes of stdout and stderr this chunk and all before it account for."""
    truncated: bool = False
    """The log was full: from here on output is counted in ``end`` and not kept."""
    eof: bool = False
    """The attempt's last chunk."""


CHUNK: Final = Codec(Chunk)


class LogLine(msgspec.Struct, frozen=True, gc=False):
    """One line without its ``\\n``. ``at``: unix time at which it was complete."""

    at: float
    stream: LogStream
    text: str


class LogReader:
    """Chunks of one attempt in, lines out, in the order in which they were completed.

    A chunk that exactly repeats the one before it is ignored: a publisher that was unsure sent it again. Reading
    may begin at any chunk; the rest of a very long line then counts as a line.
    """

    def __init__(self) -> None:
        self._open: list[list[str]] = [[] for _ in STREAMS]
        self._open_at = [0.0] * len(STREAMS)
        self._last: Chunk | None = None

    def feed(self, chunk: Chunk) -> list[LogLine]:
        """The lines that *chunk* completes."""
        if chunk == self._last:
            return []
        self._last = chunk
        lines: list[LogLine] = []
        for piece in chunk.lines:
            at, name, open_ = chunk.at + piece.ms / 1000, STREAMS[piece.stream], self._open[piece.stream]
            *whole, rest = piece.text.split("\n")
            if whole and open_:
                whole[0] = "".join([*open_, whole[0]])
                open_.clear()
            lines += [LogLine(at, name, text) for text in whole]
            if rest:
                open_.append(rest)
                self._open_at[piece.stream] = at
        return lines + self.close() if chunk.eof else lines

    def close(self) -> list[LogLine]:
        """The unterminated last lines, once no further chunk will come."""
        lines = [
            LogLine(at, name, "".join(open_))
            for name, open_, at in zip(STREAMS, self._open, self._open_at, strict=True)
            if open_
        ]
        for open_ in self._open:
            open_.clear()
        return lines
