"""The log of one attempt on the bus: chunks go out in order, once, by one writer at a time. I/O.

Each chunk expects the sequence of the one before it on its subject, so a former holder of the run that still writes is
fenced, and a chunk whose answer got lost is recognised instead of doubled.
"""

from __future__ import annotations

import asyncio
import logging

import nats.errors
import nats.js.errors

from fastflow_contracts import streams, subjects
from fastflow_contracts.logs import CHUNK, STREAMS, Chunk
from fastflow_contracts.subjects import RunRef
from fastflow_contracts.wire import Bus, Conflict, Unavailable
from fastflow_runner.errors import RunnerError

log = logging.getLogger(__name__)

PAUSE_S = 1.0
"""Between rounds while the bus is away: output waits in the supervisor, then in the script's own pipes."""
LAST_LINE_CHARACTERS_MAX = 500


class Fenced(RunnerError):
    """Somebody else writes this log now: the run is no longer ours."""


class Logbook:
    """Writes the log of one attempt. ``sequence``: the stream sequence of its last chunk, 0 = none."""

    def __init__(self, bus: Bus, ref: RunRef, attempt: int) -> None:
        self._bus = bus
        self._subject = subjects.log(ref, attempt)
        self.sequence = 0
        self.last_error_line = ""

    async def resume(self) -> Chunk | None:
        """Find the last published chunk and write on after it. None: nothing was published."""
        last = await self._last()
        if last is None:
            return None
        self.sequence, data = last
        return CHUNK.decode(data)

    async def append(self, chunk: Chunk) -> None:
        """Store *chunk*; waits for the bus as long as it takes. Raises ``Fenced``."""
        data = CHUNK.encode(chunk)
        while True:
            try:
                self.sequence = await self._bus.publish(self._subject, data, expect_sequence=self.sequence)
                break
            except Conflict:
                last = await self._last()
                if last is None or last[1] != data:
                    raise Fenced("somebody else writes this run's log") from None
                self.sequence = last[0]
                break
            except Unavailable as error:
                log.warning("log of %s waits: %s", self._subject, error)
                await asyncio.sleep(PAUSE_S)
        self._note(chunk)

    def _note(self, chunk: Chunk) -> None:
        for piece in reversed(chunk.lines):
            if STREAMS[piece.stream] == "stderr" and (text := piece.text.strip()):
                self.last_error_line = text.rpartition("\n")[2].strip()[:LAST_LINE_CHARACTERS_MAX]
                return

    async def _last(self) -> tuple[int, bytes] | None:
        while True:
            try:
                raw = await self._bus.js.get_last_msg(streams.LOGS, self._subject)
            except nats.js.errors.NotFoundError:
                return None
            except (nats.errors.Error, TimeoutError) as error:
                log.warning("log of %s waits: %s", self._subject, error)
                await asyncio.sleep(PAUSE_S)
            else:
                assert raw.seq is not None
                return raw.seq, raw.data or b""
