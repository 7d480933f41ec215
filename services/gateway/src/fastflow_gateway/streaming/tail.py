"""The last lines of a stored log, read from its end. I/O.

A tail reads back in windows that grow, until it has its lines or ``TAIL_BYTES_MAX``. What it holds does not depend on
the length of the log or of a line.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import aclosing
from itertools import groupby
from typing import Final, NamedTuple

from aiohttp import web

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.decoding import decoded
from fastflow_contracts.bus.direct import StoredMessage
from fastflow_contracts.runs import logs
from fastflow_contracts.runs.logs import Chunk
from fastflow_contracts.runs.run import RunRecord
from fastflow_gateway.streaming.events import PlainText, last_lines
from fastflow_gateway.streaming.follow import log_end
from fastflow_gateway.streaming.stored import StoredReads

TAIL_BYTES_MAX: Final = 4 * 1024 * 1024
"""Most of a log, as it is stored, that a tail looks at."""
TAILS_MAX: Final = 2
"""Tails that are read at once; others wait for their turn."""
WINDOW: Final = 32
"""Messages of the stream, of all runs, in the first window."""
WINDOW_GROWTH: Final = 8


class _Window(NamedTuple):
    """The chunks of one window with their attempts, oldest first."""

    chunks: list[tuple[int, Chunk]]
    stored_bytes: int
    is_cut: bool
    """Older ones of the window are left out."""

    @property
    def newlines(self) -> int:
        return sum(piece.text.count("\n") for _, chunk in self.chunks for piece in chunk.lines)


class LogTails:
    """Reads tails, a few at a time."""

    def __init__(self, reads: StoredReads) -> None:
        self._reads = reads
        self._turns = asyncio.Semaphore(TAILS_MAX)

    async def tail(self, run: RunRecord, lines_max: int) -> str:
        """Read the last *lines_max* lines of all attempts.

        If they are longer than ``TAIL_BYTES_MAX``, their end comes after a line that says so.

        Raises ``Busy`` or ``BusError``.
        """
        async with self._turns:
            parts: deque[_Window] = deque()
            room, newlines, is_cut = TAIL_BYTES_MAX, 0, False
            for after, until in _windows(await self._end(run)):
                part = await self._window(run, after, until, room)
                parts.appendleft(part)
                room, newlines, is_cut = room - part.stored_bytes, newlines + part.newlines, part.is_cut
                if is_cut or newlines > lines_max:
                    break
            return _text(run, (each for part in parts for each in part.chunks), lines_max, is_cut=is_cut)

    async def _end(self, run: RunRecord) -> int:
        end = log_end(run) if run.is_over else 0
        return end or await self._reads.last_sequence(streams.LOGS)

    async def _window(self, run: RunRecord, after: int, until: int, room: int) -> _Window:
        kept: deque[StoredMessage] = deque()
        stored_bytes, is_cut = 0, False
        found = self._reads.messages(streams.LOGS, subjects.logs_of(run.ref), after=after, until=until)
        async with aclosing(found) as messages:
            async for message in messages:
                kept.append(message)
                stored_bytes += len(message.data)
                while stored_bytes > room and len(kept) > 1:
                    stored_bytes -= len(kept.popleft().data)
                    is_cut = True
        chunks = [
            (subjects.attempt_of_log(message.subject), chunk)
            for message in kept
            if (chunk := decoded(logs.CHUNK, message.data, where=message.subject)) is not None
        ]
        return _Window(chunks, stored_bytes, is_cut)


def _windows(end: int) -> Iterator[tuple[int, int]]:
    """Where windows begin and end, from the last to the first: each after the first and up to the second sequence."""
    size = WINDOW
    while end > 0:
        yield max(0, end - size), end
        end, size = end - size, size * WINDOW_GROWTH


def _text(run: RunRecord, chunks: Iterable[tuple[int, Chunk]], lines_max: int, *, is_cut: bool) -> str:
    # A repeat in two windows is one more of the same message: see ``Repeats``.
    reader, parts = PlainText(), [chunk for chunk, _ in groupby(chunks)]
    lines, has_more = last_lines("".join(reader.text(chunk, attempt) for attempt, chunk in parts), lines_max)
    if is_cut and not has_more:
        mib = TAIL_BYTES_MAX // 1024**2
        mark = f"[only the last {mib} MiB of these lines: GET /api/runs/{run.id}/logs sends the whole log]\n"
        return mark + lines
    return lines


LOG_TAILS = web.AppKey("LOG_TAILS", LogTails)
