"""Turns the bytes a script wrote into the chunks of its log. Pure.

This module cuts lines and chunks, and applies the cap. Other modules publish the chunks, run the timers and
acknowledge offsets; ``cells.masking`` finds secrets.

**Only the stream's own bytes decide where to cut**, never how they arrived. So a runner that re-attaches and resumes
at the offsets of the last published chunk continues with the very same text.

**A line that stays open** is shown by ``show_open``, in parts that end neither inside a character nor where a secret
may begin. The pieces hold all of it again later.

**A line longer than ``LINE_BYTES_MAX`` is cut** near ``PIECE_BYTES``, never inside a UTF-8 character or an occurrence
of a secret. The bytes between the two bounds are held back to see such an occurrence whole; so they
are ``SECRET_BYTES_MAX``.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal, TypeAlias

import msgspec

from fastflow_contracts.runs.logs import CHUNK_BYTES_MAX, STREAMS, Chunk, OpenText, Piece
from fastflow_runner.guest.cells.masking import SECRET_BYTES_MAX, Masker
from fastflow_runner.output.quota import Refuse, never

OutputStream: TypeAlias = Literal["stdout", "stderr"]

PIECE_BYTES: Final = 24 * 1024
LINE_BYTES_MAX: Final = PIECE_BYTES + SECRET_BYTES_MAX
LOG_BYTES_MAX: Final = 100_000_000

_PIECE_COST_BYTES: Final = 32  # brackets, commas, the time and the stream around a piece
_CHUNK_COST_BYTES: Final = 256  # all the other fields

# JSON makes at most six bytes of one, so a longest line still fits into its own chunk.
assert 6 * LINE_BYTES_MAX + _PIECE_COST_BYTES + _CHUNK_COST_BYTES <= CHUNK_BYTES_MAX


class Assembler:
    """The log of one attempt, from ``feed`` to ``close``. Each method returns the chunks that became full.

    ``resume`` is the last chunk that was published: what it accounts for is dropped when it is repeated.
    ``log_bytes_max`` and ``refuse`` bound the bytes kept; then comes a mark, and the rest is only counted.
    """

    def __init__(
        self,
        *,
        secrets: Iterable[str] = (),
        log_bytes_max: int = LOG_BYTES_MAX,
        refuse: Refuse = never,
        resume: Chunk | None = None,
    ) -> None:
        self._masker = Masker(secrets)
        self._log_bytes_max = log_bytes_max
        self._refuse = refuse
        self._end = [0, *(resume.end if resume else (0, 0))]  # by stream number; said by the system, stdout, stderr
        self._sealed = self._counted
        self._open = [b"", b"", b""]  # the line not yet complete
        self._open_at = [0.0, 0.0, 0.0]
        self._shown_bytes = [0, 0, 0]  # of the open line
        self._shown_characters = [0, 0, 0]
        self._has_unshown = False
        self._truncated = resume.truncated if resume else False
        self._has_said = resume is not None
        self._pieces: list[tuple[float, int, list[str]]] = []
        self._size_bytes = _CHUNK_COST_BYTES
        self._full: list[Chunk] = []

    @property
    def end(self) -> tuple[int, int]:
        """How many bytes of stdout and stderr the chunks returned so far account for; behind the cap, all there were.

        May be acknowledged as soon as those chunks are published.
        """
        return self._sealed if self._pieces or not self._truncated else self._counted

    @property
    def pending(self) -> bool:
        """Whether ``flush`` would return a chunk; it should be called ``CHUNK_S`` after this became true."""
        return bool(self._pieces)

    @property
    def has_unshown(self) -> bool:
        """Whether an open line has got text; ``show_open`` should be called ``OPEN_S`` after this became true."""
        return self._has_unshown

    @property
    def _counted(self) -> tuple[int, int]:
        return self._end[1], self._end[2]

    @property
    def truncated(self) -> bool:
        """Whether the log is full: ``end`` then grows without any chunk being returned."""
        return self._truncated

    def feed(self, stream: OutputStream, offset: int, at: datetime, data: bytes) -> list[Chunk]:
        """Take *data*, whose first byte is the *offset*-th of its stream."""
        number, moment = STREAMS.index(stream), _moment(at)
        expected = self._end[number] + len(self._open[number])
        if offset < expected:
            data = data[expected - offset :]
        elif offset > expected:
            self._skip(number, moment, offset)
        if data:
            self._take(number, moment, data)
        return self._take_full()

    def say(self, at: datetime, text: str) -> list[Chunk]:
        """Add lines of the runner's own. They count against the cap, and secrets in them are masked."""
        self._take(0, _moment(at), text.encode("utf-8", "replace").removesuffix(b"\n") + b"\n")
        return self._take_full()

    def flush(self) -> list[Chunk]:
        """Return what is pending, now."""
        self._seal()
        return self._take_full()

    def show_open(self) -> list[Chunk]:
        """Return what is pending, and the text that open lines got since the last call."""
        self._seal()
        self._has_unshown = False
        for number in (1, 2):
            if text := self._newly_open(number):
                shown = OpenText(number, self._shown_characters[number], text)
                self._shown_characters[number] += len(text)
                self._has_said = True
                at = self._open_at[number]
                self._full.append(Chunk(at=at, end=self._counted, truncated=self._truncated, open=shown))
        return self._take_full()

    def close(self, at: datetime) -> list[Chunk]:
        """Return everything left, with unterminated lines. The last chunk ends the log; none without any output."""
        for number in (1, 2):
            self._flush_open(number)
        if self._truncated:
            self._mark(_moment(at), f"log truncated; the script wrote {sum(self._counted)} bytes in all")
        if self._pieces or self._has_said:
            self._seal(eof=True, at=_moment(at))
        return self._take_full()

    def _take(self, number: int, at: float, data: bytes) -> None:
        if self._truncated:
            self._end[number] += len(self._open[number]) + len(data)
            self._end_open(number)
            return
        whole = data.rfind(b"\n") + 1
        if whole:
            self._lines(number, at, self._open[number] + data[:whole] if self._open[number] else data[:whole])
            data = data[whole:]
            self._end_open(number)
        if data:
            self._open[number] = self._long_line(number, at, self._open[number] + data)
            self._open_at[number] = at
            self._has_unshown = True

    def _newly_open(self, number: int) -> str:
        """Return the masked text of an open line that was not shown and can be shown now; note it as shown."""
        line, start = self._open[number], self._shown_bytes[number]
        stop = self._masker.settled(line)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        decoder.decode(line[start:stop])
        stop -= len(decoder.getstate()[0])  # the beginning of a character
        if stop <= start:
            return ""
        self._shown_bytes[number] = stop
        return self._masker.mask(line[start:stop]).decode("utf-8", "replace")

    def _end_open(self, number: int) -> None:
        """Forget the open line of a stream."""
        self._open[number] = b""
        self._shown_bytes[number] = self._shown_characters[number] = 0
        self._has_unshown = self._has_unshown and any(self._open)

    def _lines(self, number: int, at: float, block: bytes) -> None:
        """Put whole lines, as many at a time as a piece may hold."""
        start = 0
        while len(block) - start > PIECE_BYTES:
            stop = block.rfind(b"\n", start, start + PIECE_BYTES) + 1
            stop = stop or block.find(b"\n", start, start + LINE_BYTES_MAX) + 1
            stop = stop or start + self._masker.cut(block[start : start + LINE_BYTES_MAX], PIECE_BYTES)
            self._put(number, at, block[start:stop])
            start = stop
        if start < len(block):
            self._put(number, at, block[start:])

    def _long_line(self, number: int, at: float, line: bytes) -> bytes:
        """Put parts of an incomplete line while it is too long; return what remains open."""
        while len(line) >= LINE_BYTES_MAX:
            stop = self._masker.cut(line[:LINE_BYTES_MAX], PIECE_BYTES)
            characters = self._put(number, at, line[:stop])
            self._shown_bytes[number] = max(0, self._shown_bytes[number] - stop)
            self._shown_characters[number] = max(0, self._shown_characters[number] - characters)
            line = line[stop:]
        return line

    def _flush_open(self, number: int) -> None:
        if self._open[number]:
            self._put(number, self._open_at[number], self._open[number])
            self._end_open(number)

    def _skip(self, number: int, at: float, offset: int) -> None:
        """Note missing bytes in the log: a previous holder stored them, and the bus no longer keeps them."""
        self._flush_open(number)
        if not self._truncated:
            self._mark(at, f"{offset - self._end[number]} bytes of {STREAMS[number]} are missing here")
        self._end[number] = offset

    def _put(self, number: int, at: float, piece: bytes) -> int:
        """Put a piece; return its length in characters, 0 behind the cap."""
        if self._truncated or (why := self._too_much(len(piece))):
            if not self._truncated:
                self._truncated = True
                self._mark(at, f"log truncated{why}; the script continues")
            self._end[number] += len(piece)
            return 0
        text = self._masker.mask(piece).decode("utf-8", "replace")
        self._add(number, at, text)
        self._end[number] += len(piece)
        return len(text)

    def _too_much(self, size_bytes: int) -> str:
        """Why so many bytes more cannot be kept; empty: they can."""
        if sum(self._end) + size_bytes > self._log_bytes_max:
            return f" at {self._log_bytes_max} bytes"
        return f": {why}" if (why := self._refuse(size_bytes)) else ""

    def _mark(self, at: float, text: str) -> None:
        self._add(0, at, f"[fastflow] {text}\n")

    def _add(self, number: int, at: float, text: str) -> None:
        size_bytes = len(msgspec.json.encode(text)) + _PIECE_COST_BYTES
        if self._size_bytes + size_bytes > CHUNK_BYTES_MAX:
            self._seal()
        self._size_bytes += size_bytes
        if self._pieces and self._pieces[-1][:2] == (at, number):
            self._pieces[-1][2].append(text)
        else:
            self._pieces.append((at, number, [text]))

    def _seal(self, *, eof: bool = False, at: float = 0.0) -> None:
        if not self._pieces and not eof:
            return
        self._has_said = True
        start = self._pieces[0][0] if self._pieces else at
        self._full.append(
            Chunk(
                at=start,
                lines=tuple(Piece(round((at - start) * 1000), n, "".join(t)) for at, n, t in self._pieces),
                end=self._counted,
                truncated=self._truncated,
                eof=eof,
            )
        )
        self._sealed = self._counted
        self._pieces = []
        self._size_bytes = _CHUNK_COST_BYTES

    def _take_full(self) -> list[Chunk]:
        full, self._full = self._full, []
        return full


def _moment(at: datetime) -> float:
    """Unix time in whole milliseconds: what arrives within one shares a piece."""
    return round(at.timestamp(), 3)
