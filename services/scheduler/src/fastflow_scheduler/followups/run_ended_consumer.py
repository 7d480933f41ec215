"""Carries out what follows from the end of runs. I/O; the rules are ``rules``'s.

It reads the change feed of the run records as a durable consumer that all schedulers share. A reaction may be
repeated after a crash, which changes nothing, and is never forgotten: its message is acknowledged last.
"""

from __future__ import annotations

import asyncio
import logging

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.consume import consume
from fastflow_contracts.bus.decoding import Unreadable, decoded
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.bus.pull import Message
from fastflow_contracts.clock import now
from fastflow_contracts.ids import run_id_for_child
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.messages import Skip
from fastflow_contracts.runs.run import RUN, Ended, Run, RunInput
from fastflow_contracts.runs.store import NoSuchRun, RunStore
from fastflow_scheduler.followups.rules import Break, Follow, react
from fastflow_scheduler.starting.starter import Starter

log = logging.getLogger(__name__)

AT_ONCE_MAX = 64
"""Changes under way at once in one scheduler."""
AGAIN_S = 1.0


class RunEndedConsumer:
    """Follows ends of runs. Any number of schedulers may."""

    def __init__(self, bus: Bus, runs: RunStore, starter: Starter) -> None:
        self._bus = bus
        self._runs = runs
        self._pipelines = PipelineStore(bus)
        self._starter = starter

    async def serve(self) -> None:
        """Work until cancelled."""
        stream = streams.bucket_stream(subjects.RUNS)
        await consume(self._bus, stream, streams.SCHEDULER, self._handle, at_once_max=AT_ONCE_MAX)

    async def _handle(self, message: Message) -> None:
        run = decoded(RUN, message.data, where=message.subject) if message.data else None
        try:
            if run is not None and isinstance(run.state, Ended):
                await self._react(run)
        except BusError as error:
            log.warning("what follows from %s waits: %s", message.subject, error)
            await message.nak(AGAIN_S)
            return
        await message.ack_soon()

    async def _react(self, run: Run) -> None:
        record, made = await asyncio.gather(self._pipelines.get(run.pipeline), self._pipelines.links_of(run.pipeline))
        if record is None and not made:
            return
        try:
            given = await self._runs.input(run)
        except (NoSuchRun, Unreadable):
            given = RunInput()
        for step in react(run, record, made, given):
            match step:
                case Follow(pipeline=pipeline, edge=edge, trigger=trigger, cause=cause):
                    run_id = run_id_for_child(run.id, edge)
                    identity = f"{run.id}-{edge}"
                    await self._starter.start(pipeline, trigger, run_id, cause=cause, identity=identity)
                case Break(pipeline=pipeline, edge=edge, reason=reason):
                    await self._skip(run, pipeline, edge, reason)

    async def _skip(self, run: Run, pipeline: PipelineName, edge: str, reason: str) -> None:
        skip = Skip(at=now(), pipeline=pipeline, reason=reason, triggered_by="downstream", parent_run_id=run.id)
        message_id = f"skip-{run.id}-{edge}"
        await self._bus.publish(subjects.skipped(pipeline), messages.SKIP.encode(skip), message_id=message_id)
