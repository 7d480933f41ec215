"""Starts what follows from the end of runs. I/O; the rules are in ``starting.followups``.

It reads the change feed of the run records as a durable consumer that all schedulers share. A reaction is never lost,
because its message is acknowledged last. After a crash a reaction may repeat, which changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.consume import consume
from fastflow_contracts.bus.decoding import Unreadable, decoded
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.bus.pull import Message
from fastflow_contracts.codec import Codec, Malformed
from fastflow_contracts.ids import run_id_for_child
from fastflow_contracts.log import get_logger
from fastflow_contracts.pipelines.links import HOPS_MAX
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.runs.artifacts.manifest import StoredArtifact
from fastflow_contracts.runs.artifacts.store import ArtifactStore
from fastflow_contracts.runs.messages import Skipped
from fastflow_contracts.runs.room import NO_ROOM_S, NoRoom
from fastflow_contracts.runs.run import RUN, Ended, RunInput, RunRecord
from fastflow_contracts.runs.store import NoSuchRun, RunStore
from fastflow_contracts.starting.followups import Break, Follow, needed, react
from fastflow_scheduler.followups.trials import Trials
from fastflow_scheduler.starting.starter import Starter

log = get_logger(__name__)

AT_ONCE_MAX = 64
"""Changes that one scheduler handles at once."""
AGAIN_S = 1.0


class _BriefState(msgspec.Struct):
    type: str


class _Brief(msgspec.Struct):
    """As little of a run's record as it takes to see whether it is over."""

    state: _BriefState


_BRIEF = Codec(_Brief)


class RunEndedConsumer:
    """Reacts to the ends of runs. Any number of schedulers can share the work.

    *depth_max*: most downstream starts one after the other.
    """

    def __init__(self, bus: Bus, runs: RunStore, starter: Starter, *, depth_max: int = HOPS_MAX) -> None:
        self._bus = bus
        self._runs = runs
        self._pipelines = PipelineStore(bus)
        self._artifacts = ArtifactStore(bus)
        self._starter = starter
        self._trials = Trials(bus)
        self._depth_max = depth_max

    async def serve(self) -> None:
        """React until cancelled."""
        stream = streams.bucket_stream(subjects.RUNS)
        consumer = streams.SCHEDULER
        await consume(self._bus, stream, consumer, self._handle, at_once_max=AT_ONCE_MAX, matters=may_be_an_end)

    async def _handle(self, message: Message) -> None:
        run = decoded(RUN, message.data, where=message.subject) if message.data else None
        try:
            if run is not None and isinstance(run.state, Ended):
                await self._react(run)
        except NoRoom as error:
            log.debug("followup delayed", subject=message.subject, error=str(error))
            await message.nak(NO_ROOM_S)
            return
        except BusError as error:
            log.warning("followup delayed", subject=message.subject, error=str(error))
            await message.nak(AGAIN_S)
            return
        await message.ack_soon()

    async def _react(self, run: RunRecord) -> None:
        record, made = await asyncio.gather(self._pipelines.get(run.pipeline), self._pipelines.links_of(run.pipeline))
        await self._trials.ended(run, record)  # first: a restart takes the version that is live then
        reads = needed(run, record, made)
        given = await self._input(run) if reads.given else RunInput()
        result = await self._runs.result(run) if reads.result else None
        artifacts = await self._left(run) if reads.result else ()
        for step in react(run, record, made, given, result=result, artifacts=artifacts, depth_max=self._depth_max):
            match step:
                case Follow(pipeline=pipeline, edge=edge, trigger=trigger, cause=cause):
                    await self._starter.start(pipeline, trigger, run_id_for_child(run.id, edge), cause=cause)
                case Break():
                    await self._starter.refuse(
                        step.pipeline,
                        step.trigger,
                        run_id_for_child(run.id, step.edge),
                        Skipped(status=409, reason=step.reason),
                        cause=step.cause,
                    )

    async def _left(self, run: RunRecord) -> Sequence[StoredArtifact]:
        manifest = await self._artifacts.manifest(run)
        return manifest.artifacts if manifest is not None else ()

    async def _input(self, run: RunRecord) -> RunInput:
        try:
            return await self._runs.input(run)
        except (NoSuchRun, Unreadable):
            return RunInput()


def may_be_an_end(message: Message) -> bool:
    """Whether it is the record of a run that is over, or unreadable. Three of four changes of a run are neither."""
    if not message.data:
        return False
    try:
        return _BRIEF.decode(message.data).state.type == "ended"
    except Malformed:
        return True
