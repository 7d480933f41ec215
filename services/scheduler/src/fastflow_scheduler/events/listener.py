"""Keeps one reading for each trigger of each live version. I/O.

Each trigger belongs to one of the schedulers that live (``Share``). A wrong view of that costs time, nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from datetime import datetime
from typing import Final

from fastflow_contracts.bus.bucket import Change
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError, RevisionConflict
from fastflow_contracts.bus.subjects import JobRef, TriggerRef
from fastflow_contracts.clock import now as wall_clock
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.log import get_logger
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.expressions.evaluator import ExpressionEvaluator
from fastflow_contracts.pipelines.format.limit_policy import NO_POLICY, LimitPolicy
from fastflow_contracts.pipelines.records import PipelineRecord, Version
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.runs.event_cursors import event_cursors
from fastflow_contracts.runs.room import NO_ROOM_S, NoRoom
from fastflow_scheduler.events.held_bytes import HeldBytes
from fastflow_scheduler.events.reading import Reading
from fastflow_scheduler.schedules.share import Share
from fastflow_scheduler.starting.starter import Starter

log = get_logger(__name__)

IDLE_S: Final = 0.25
"""Pause between two looks at a stream in which nothing arrives."""
LOOKS_MAX: Final = 200
"""Looks in a second, of all triggers: with many of them each one looks less often."""
OTHERS_S: Final = 1.0
"""Pause between two looks at whether another scheduler's trigger is ours now."""
CONFLICT_S: Final = 0.1
CONFLICTS_MAX: Final = 50
"""Conflicts in a row after which one is reported. A few are another scheduler's reading."""
AGAIN_S: Final = 1.0
TROUBLE_S: Final = 30.0
PRUNE_S: Final = 60.0


class EventListener:
    """Reads what triggers wait for. One per scheduler."""

    def __init__(
        self,
        bus: Bus,
        starter: Starter,
        evaluator: ExpressionEvaluator,
        share: Share,
        *,
        policy: LimitPolicy = NO_POLICY,
        clock: Callable[[], datetime] = wall_clock,
    ) -> None:
        """Read nothing by itself.

        Args:
            bus: The bus.
            starter: Starts the runs.
            evaluator: Evaluates the expressions; slow ones must not delay those of others.
            share: Which triggers belong to this scheduler.
            policy: Which subjects triggers may have; it also holds for versions from before.
            clock: Tells the time.
        """
        self._bus = bus
        self._starter = starter
        self._evaluator = evaluator
        self._share = share
        self._policy = policy
        self._clock = clock
        self._pipelines = PipelineStore(bus)
        self._cursors = event_cursors(bus)
        self._live: dict[PipelineName, Version] = {}
        self._tasks: dict[TriggerRef, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._held = HeldBytes()

    async def serve(self) -> None:
        """Read until cancelled."""
        async with asyncio.TaskGroup() as group, aclosing(self._pipelines.records.follow()) as batches:
            is_pruning = False
            async for batch in batches:
                for change in batch.changes:
                    self._see(group, change)
                if batch.caught_up and not is_pruning:
                    is_pruning = True
                    group.create_task(self._prune(), name="prune-cursors")

    def _see(self, group: asyncio.TaskGroup, change: Change[PipelineName, PipelineRecord]) -> None:
        """Begin to read for a new version, and end what an older one had."""
        name, version = change.name, _active_version(change.value)
        if version == self._live.get(name):
            return
        for ref in [ref for ref in self._tasks if ref.pipeline == name]:
            self._tasks.pop(ref).cancel()
        self._live.pop(name, None)
        self._changed.set()
        if version is None:
            return
        self._live[name] = version
        for trigger in version.spec.active_triggers():
            ref = TriggerRef(name, trigger)
            self._tasks[ref] = group.create_task(self._read(ref, version), name=f"trigger-{name}-{trigger}")

    async def _read(self, ref: TriggerRef, version: Version) -> None:
        idle_s = max(IDLE_S, len(self._tasks) / LOOKS_MAX)
        reading = Reading(
            *(self._bus, self._starter, self._evaluator, ref, version, self._held),
            idle_s=idle_s,
            policy=self._policy,
            clock=self._clock,
        )
        conflicts = 0
        while True:
            if not self._share.is_own(JobRef(ref.pipeline, f"triggers/{ref.trigger}")):
                reading.forget()
                await asyncio.sleep(OTHERS_S)
                continue
            try:
                pause_s = await reading.go_on()
                conflicts = 0
            except Exception as error:
                reading.forget()
                pause_s = _pause_s(error)
                conflicts = conflicts + 1 if isinstance(error, RevisionConflict) else 0
                if not isinstance(error, NoRoom | RevisionConflict) or conflicts == CONFLICTS_MAX:
                    report = log.warning if isinstance(error, FastFlowError) else log.exception
                    report("trigger delayed", pipeline=ref.pipeline, trigger=ref.trigger, error=str(error))
            await asyncio.sleep(pause_s)

    async def _prune(self) -> None:
        """Remove the cursors of triggers that are gone or disabled, now and after each change."""
        while True:
            self._changed.clear()
            with suppress(BusError):
                for cursor in await self._cursors.items():
                    if cursor.name not in self._tasks and not await self._is_active(cursor.name):
                        await self._cursors.delete(cursor.name, expect=cursor.revision)
                        log.info("trigger removed", pipeline=cursor.name.pipeline, trigger=cursor.name.trigger)
            with suppress(TimeoutError):
                async with asyncio.timeout(PRUNE_S):
                    await self._changed.wait()

    async def _is_active(self, ref: TriggerRef) -> bool:
        """Whether the trigger reads, by the record as it is now. Raises ``BusError``."""
        stored = await self._pipelines.records.load(ref.pipeline, is_exact=True)
        if stored.value is None:
            return stored.revision != 0  # one that cannot be read decides nothing
        version = _active_version(stored.value)
        return version is not None and ref.trigger in version.spec.active_triggers()


def _active_version(record: PipelineRecord | None) -> Version | None:
    """The version that starts, if it has triggers."""
    if record is None or record.removed_at is not None or record.live is None:
        return None
    return record.live if record.live.spec.active_triggers() else None


def _pause_s(error: Exception) -> float:
    match error:
        case NoRoom():
            return NO_ROOM_S
        case RevisionConflict():
            return CONFLICT_S
        case BusError():
            return AGAIN_S
        case _:
            return TROUBLE_S
