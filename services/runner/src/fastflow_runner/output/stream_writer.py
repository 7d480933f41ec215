"""Writes one subject of a stream: in order, each message once, one writer at a time. I/O.

Each message expects the sequence of the one before it on its subject. So a previous holder of the run that still
writes is fenced, and a message whose answer got lost is recognised instead of duplicated. The stream's messages expire:
a subject with no message left starts over with the next writer.
"""

from __future__ import annotations

import asyncio

import nats.errors
import nats.js.errors

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import RevisionConflict, Unavailable
from fastflow_contracts.log import get_logger
from fastflow_runner.errors import RunnerError

log = get_logger(__name__)

PAUSE_S = 1.0
"""Between rounds while the bus is away: output waits in the supervisor, then in the script's own pipes."""


class Fenced(RunnerError):
    """Another runner writes here now: the run is no longer ours."""


class StreamWriter:
    """``sequence``: the stream sequence of the last message, 0 = none."""

    def __init__(self, bus: Bus, stream: str, subject: str) -> None:
        self._bus = bus
        self._stream = stream
        self._subject = subject
        self.sequence = 0

    async def resume(self) -> bytes | None:
        """Find the last stored message and continue after it. None: there is none."""
        last = await self._last()
        if last is None:
            return None
        self.sequence, data = last
        return data

    async def append(self, data: bytes) -> None:
        """Store *data*; waits for the bus as long as it takes. Raises ``Fenced``."""
        while True:
            try:
                self.sequence = await self._bus.publish(self._subject, data, expect_sequence=self.sequence)
                return
            except RevisionConflict:
                last = await self._last()
                if last is None and self.sequence:  # ours are kept no longer
                    self.sequence = 0
                    continue
                if last is None or last[1] != data:
                    raise Fenced(f"another runner writes {self._subject}") from None
                self.sequence = last[0]
                return
            except Unavailable as error:
                log.warning("output delayed", subject=self._subject, error=str(error))
                await asyncio.sleep(PAUSE_S)

    async def _last(self) -> tuple[int, bytes] | None:
        while True:
            try:
                raw = await self._bus.js.get_last_msg(self._stream, self._subject)
            except nats.js.errors.NotFoundError:
                return None
            except (nats.errors.Error, TimeoutError) as error:
                log.warning("last message delayed", subject=self._subject, error=str(error))
                await asyncio.sleep(PAUSE_S)
            else:
                assert raw.seq is not None
                return raw.seq, raw.data or b""
