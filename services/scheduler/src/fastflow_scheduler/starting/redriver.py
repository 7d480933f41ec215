"""Starts the kept message of a skip: one run, however often it is asked. I/O; ``starter`` does the starting."""

from __future__ import annotations

from msgspec.structs import replace

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.foreign import message_at
from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.messages import Decision, Skipped, SkipRecord, Started, Trigger
from fastflow_contracts.runs.run import RunRecord
from fastflow_contracts.runs.skips import SkipStore, letter_of, redrive_id
from fastflow_contracts.runs.store import NoSuchRun, RunStore
from fastflow_contracts.runs.stream_events import event_trigger
from fastflow_contracts.runs.triggers import BadTrigger, read_trigger
from fastflow_contracts.starting.admission import Cause
from fastflow_scheduler.starting.starter import Starter


class Redriver:
    """Carries out triggers that name a skip."""

    def __init__(self, bus: Bus, runs: RunStore, starter: Starter) -> None:
        self._bus = bus
        self._runs = runs
        self._skips = SkipStore(bus)
        self._starter = starter

    async def redrive(self, name: PipelineName, trigger: Trigger) -> Decision:
        """Start what the skip ``trigger.redrive_of`` of *name* keeps. Safe to repeat.

        A refusal leaves the skip as it is. Raises ``BusError``, and ``Unreadable`` as ``Starter.start``.
        """
        assert trigger.redrive_of is not None
        skip_id = trigger.redrive_of
        skip = await self._skips.get(name, skip_id)
        if skip is None:
            return Skipped(status=404, reason=f"{name} has no skip {skip_id}; it may have been removed by age.")
        try:
            wanted = await self._wanted(name, skip_id, skip)
        except BadTrigger as error:
            return Skipped(status=error.status, reason=str(error))
        if wanted is None:
            gone = "is not kept any more"
            if skip.event_at is not None:
                gone = f"was in the stream {skip.event_at.stream} at {skip.event_at.sequence}, which has removed it"
            return Skipped(status=410, reason=f"the message of the skip {skip_id} {gone}.")
        if wanted.redrive_of is not None:
            return Skipped(status=422, reason=f"the skip {skip_id} keeps the redrive of another one; redrive that.")
        decision = await self._starter.start(
            name,
            replace(
                wanted,
                accepted=trigger.accepted,
                triggered_by=skip.triggered_by,
                run_config_id=skip.run_config_id or wanted.run_config_id,
            ),
            await redrive_id(skip_id, trigger.key, self._find),
            cause=_cause(skip),
            is_kept=True,
        )
        if isinstance(decision, Started) and not await self._is_refused(decision.run_id):
            await self._skips.mark_redriven(name, skip_id, decision.run_id)
        return decision

    async def _wanted(self, name: PipelineName, skip_id: RunId, skip: SkipRecord) -> Trigger | None:
        """What the message of *skip* asks for; None: it is gone. Raises ``BadTrigger``, ``BusError``."""
        letter = await self._skips.letter(name, skip_id)
        if letter is not None:
            return read_trigger(letter.payload, letter.headers, by_service=skip.by_service)
        at = skip.event_at
        message = await message_at(self._bus, at.stream, at.sequence, at.stored_at) if at is not None else None
        if at is None or message is None:
            return None
        letter = letter_of(event_trigger(message, at.trigger_id, skip.run_config_id))
        return read_trigger(letter.payload, letter.headers, by_service=True)

    async def _is_refused(self, run_id: RunId) -> bool:
        """Whether the same redrive, handled twice, left only the record of its refusal."""
        found = await self._find(run_id)
        return found is not None and found.is_refused

    async def _find(self, run_id: RunId) -> RunRecord | None:
        try:
            return (await self._runs.find(run_id)).run
        except NoSuchRun:
            return None


def _cause(skip: SkipRecord) -> Cause:
    return Cause(
        schedule=skip.schedule,
        scheduled_for=skip.scheduled_for,
        parent_run_id=skip.parent_run_id,
        parent=skip.parent,
        root_run_id=skip.root_run_id,
        hops=skip.hops,
    )
