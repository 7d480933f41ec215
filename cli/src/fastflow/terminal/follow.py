"""A run's log as it is written, up to its last line. I/O; what a line looks like is the sink's."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Protocol

from fastflow.local.bus_client import changes
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.bus.pull import Message
from fastflow_contracts.bus.streams import LOGS
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.runs.logs import CHUNK, LogLine, LogReader
from fastflow_contracts.runs.run import Run

BATCH = 32
"""Chunks under way at once; one may have 256 KB."""


class Sink(Protocol):
    """Takes what is followed, in order."""

    def lines(self, attempt: int, lines: list[LogLine]) -> None: ...

    def changed(self, run: Run) -> None: ...


class LogTail:
    """Reads the log of one run from its beginning, in as many steps as one likes."""

    def __init__(self, bus: Bus, ref: RunRef, sink: Sink) -> None:
        self._bus = bus
        self._subject = subjects.logs_of(ref)
        self._sink = sink
        self._readers: dict[int, LogReader] = {}
        self._last = 0

    async def read(self, *, forever: bool) -> None:
        """Hand on what the stream holds beyond what was read before; *forever*: and all that is still to come."""
        async with aclosing(feed(self._bus, LOGS, self._subject, after=self._last, batch=BATCH)) as batches:
            async for batch in batches:
                for message in batch.messages:
                    self._take(message)
                if batch.caught_up and not forever:
                    return

    def close(self) -> None:
        """Hand on unterminated last lines."""
        for attempt, reader in self._readers.items():
            if lines := reader.close():
                self._sink.lines(attempt, lines)

    def _take(self, message: Message) -> None:
        # No await in here: a cancelled `read` goes on exactly behind the last message that was handed on.
        attempt = subjects.attempt_of_log(message.subject)
        if lines := self._readers.setdefault(attempt, LogReader()).feed(CHUNK.decode(message.data)):
            self._sink.lines(attempt, lines)
        self._last = message.sequence


async def follow(bus: Bus, ref: RunRef, sink: Sink) -> Run:
    """Hand every line and every change of *ref* to *sink* until it is over; return the ended run.

    All of a log is stored before its run ends, so what the stream holds once the end was seen is all there is.
    """
    tail = LogTail(bus, ref, sink)
    async with asyncio.TaskGroup() as group:
        live = group.create_task(tail.read(forever=True), name="log")
        async with aclosing(changes(bus, ref)) as states:
            async for run in states:
                if run.is_over:
                    break
                sink.changed(run)
        live.cancel()
    await tail.read(forever=False)
    tail.close()
    return run


async def show(bus: Bus, ref: RunRef, sink: Sink) -> None:
    """Hand on the log as it is now."""
    tail = LogTail(bus, ref, sink)
    await tail.read(forever=False)
    tail.close()
