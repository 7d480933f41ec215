"""Turns a session's events into the log, cells and samples of one attempt, until its end. I/O; ``lines`` cuts lines.

Output is acknowledged to the supervisor only after the bus has stored it. One batch of chunks is being stored while the
next one is gathered. While the bus is away nothing more is read, so the supervisor's window fills, then the script's
pipes: nothing is lost and no memory grows.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime
from math import inf

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.clock import now
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.logs import CHUNK_S, OPEN_S, Chunk
from fastflow_contracts.runs.run import RunLimits
from fastflow_runner.output.cell_writer import CellWriter
from fastflow_runner.output.lines import Assembler
from fastflow_runner.output.log_writer import LogWriter
from fastflow_runner.output.observed import Observed
from fastflow_runner.sandbox import DaemonUnreachable
from fastflow_runner.sandbox.events import (
    CellRunnerEvent,
    Exited,
    Offsets,
    ScriptOutput,
    ScriptStarted,
    UsageSample,
    Vanished,
)
from fastflow_runner.sandbox.limits import least
from fastflow_runner.sandbox.session import Session

SAMPLE_WRITE_S = 2.0
"""A sample that the bus does not accept within this time is dropped: samples are only for display."""


class Pump:
    """Carries one attempt's output and samples to the bus; survives any number of sessions."""

    def __init__(
        self,
        bus: Bus,
        ref: RunRef,
        attempt: int,
        limits: RunLimits,
        *,
        log_writer: LogWriter,
        lines: Assembler,
        cell_writer: CellWriter,
        memory_bytes_max: int | None = None,
    ) -> None:
        """*memory_bytes_max*: the most that the runner gives to one sandbox."""
        self._bus = bus
        self._metric_subject = subjects.metric(ref, attempt)
        self._limits = limits
        self._memory_bytes_max = memory_bytes_max
        self._log_writer = log_writer
        self._lines = lines
        self._cell_writer = cell_writer
        self._stored = lines.end
        self._storing: asyncio.Task[None] | None = None
        self._stored_at = self._cells_stored_at = -inf
        self._show_at = inf  # when open lines are due
        self._started_at: datetime | None = None
        self._memory_bytes_peak = 0
        self._cpu_cores_peak = 0.0
        self._warnings: dict[str, str] = {}

    @property
    def acked(self) -> Offsets:
        """How far each stream is safe: where the next session resumes."""
        stdout, stderr = self._stored
        return Offsets(stdout=stdout, stderr=stderr, events=self._cell_writer.end)

    async def say(self, text: str) -> None:
        """Write lines of the runner's own to the log, at once."""
        await self._store([*self._lines.say(now(), text), *self._lines.flush()], self._lines.end)

    async def drain(self, session: Session) -> Exited | Vanished:
        """Carry everything until the sandbox ends. Raises what the session raises, and ``log_writer.Fenced``."""
        try:
            return await self._drain(session)
        except asyncio.CancelledError:
            if self._storing is not None:
                self._storing.cancel()
            raise
        finally:  # another session may follow, and continues from what was stored
            await self._settle()

    async def _drain(self, session: Session) -> Exited | Vanished:
        loop = asyncio.get_running_loop()
        while True:
            # A cell's output comes as a line and as an event: neither must delay the other.
            lines_at = self._stored_at + CHUNK_S if self._lines.pending else inf
            cells_at = self._cells_stored_at + CHUNK_S if self._cell_writer.pending else inf
            if loop.time() >= lines_at:
                await self._store_soon(self._lines.flush(), session)
                continue
            if loop.time() >= self._show_at:
                self._show_at = inf
                await self._store_soon(self._lines.show_open(), session)
                continue
            if loop.time() >= cells_at:
                self._cells_stored_at = loop.time()
                await self._cell_writer.flush()
                await session.ack(self.acked)
                continue
            flush_at = min(lines_at, cells_at, self._show_at)
            try:
                async with asyncio.timeout_at(None if flush_at == inf else flush_at):
                    event = await anext(session)
            except TimeoutError:
                continue
            match event:
                case ScriptOutput():
                    full = self._lines.feed(event.stream, event.offset, event.at, event.data)
                    if full or self._lines.truncated:
                        await self._store_soon(full, session)
                    if not self._lines.has_unshown:
                        self._show_at = inf
                    elif self._show_at == inf:
                        self._show_at = loop.time() + OPEN_S
                case UsageSample():
                    await self._note_sample(event)
                case ScriptStarted():
                    self._started_at = self._started_at or event.at
                case CellRunnerEvent():
                    if await self._cell_writer.take(event):
                        await session.ack(self.acked)
                case Exited() | Vanished():
                    return event

    async def close(self) -> None:
        """Publish what is left and the end of the log. Raises ``log_writer.Fenced``."""
        await self._cell_writer.flush()
        await self._store(self._lines.close(now()), self._lines.end)

    def observed(self) -> Observed:
        """What was seen, for the attempt's record."""
        return Observed(
            started_at=self._started_at,
            last_error_line=self._log_writer.last_error_line,
            timeout_s=self._limits.timeout_s,
            memory_bytes_limit=self._limits.memory_bytes,
            memory_bytes_max=self._memory_bytes_max,
            memory_bytes_peak=self._memory_bytes_peak or None,
            cpu_cores_peak=self._cpu_cores_peak or None,
            warnings=tuple(self._warnings.values()),
            log_sequence=self._log_writer.sequence,
            cell_sequence=self._cell_writer.sequence,
            has_no_result=self._cell_writer.has_no_result,
        )

    async def _store(self, chunks: list[Chunk], end: tuple[int, int]) -> None:
        for chunk in chunks:
            await self._log_writer.append(chunk)
        self._stored = end

    async def _store_soon(self, chunks: list[Chunk], session: Session) -> None:
        """After earlier chunks are stored, begin to store *chunks*; acknowledge them when that is done."""
        end = self._lines.end  # more may be taken in before the task begins

        async def store() -> None:
            await self._store(chunks, end)
            with suppress(DaemonUnreachable):  # the iteration raises it too, and no output may be lost here
                await session.ack(self.acked)

        await self._settle()
        self._stored_at = asyncio.get_running_loop().time()
        self._storing = asyncio.create_task(store(), name="store-log")

    async def _settle(self) -> None:
        """Wait for the chunks being stored. Raises what storing them raised."""
        if self._storing is not None:
            try:
                await self._storing
            finally:
                self._storing = None

    async def _note_sample(self, sample: UsageSample) -> None:
        self._memory_bytes_peak = max(self._memory_bytes_peak, sample.memory_peak_bytes)
        self._cpu_cores_peak = max(self._cpu_cores_peak, sample.cpu_cores)
        exceeded = self._check_soft_limits(sample)
        message = messages.AttemptSample(
            ts=sample.at,
            cpu_cores=round(sample.cpu_cores, 3),
            memory_bytes=sample.memory_bytes,
            memory_limit_bytes=least(self._limits.memory_bytes, sample.memory_limit_bytes),
            soft_limit_exceeded=exceeded,
        )
        try:
            await self._bus.publish(self._metric_subject, messages.SAMPLE.encode(message), patience_s=SAMPLE_WRITE_S)
        except BusError:
            return

    def _check_soft_limits(self, sample: UsageSample) -> bool:
        memory, cpu = self._limits.memory_bytes_soft, self._limits.cpu_cores_soft
        if memory_over := memory is not None and sample.memory_bytes > memory:
            assert memory is not None
            self._warnings["memory"] = (
                f"memory use of {_mib(self._memory_bytes_peak)} passed the soft limit of {_mib(memory)}"
            )
        if cpu_over := cpu is not None and sample.cpu_cores > cpu:
            self._warnings["cpu"] = f"CPU use of {self._cpu_cores_peak:.2f} cores passed the soft limit of {cpu:g}"
        return memory_over or cpu_over


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:.0f} MiB"
