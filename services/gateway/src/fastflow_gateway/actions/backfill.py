"""Run the slots of a schedule in a past range. A refusal is ``RequestRefused``. I/O; ``slot_range`` finds the slots.

The schedule is that of today, also for the past. A slot's run has an id that derives from the slot. So a slot that has
a run which worked, or is under way, is not run again; one whose run failed gets one more, unless only missing ones are
wanted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.clock import now
from fastflow_contracts.ids import RunId, run_id_for_child, run_id_for_slot
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.runs.operations.records import OperationItem, OperationRecord
from fastflow_contracts.runs.run import Ended, TriggeredBy, Verdict
from fastflow_contracts.schedules.schedule import PipelineSchedule
from fastflow_contracts.schedules.slot_range import TooManySlots, slots_in, why_none
from fastflow_contracts.schedules.state import definition
from fastflow_gateway.actions import operations
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.readmodel.model import MODEL, ReadModel
from fastflow_gateway.settings import SETTINGS
from fastflow_gateway.views.operations import operation as shown

LOOKS_MAX: Final = 32
"""Slots to look up at once."""
TRIES_MAX: Final = 1_000
"""Failed runs of one slot."""


async def backfill(
    app: web.Application,
    record: PipelineRecord,
    wanted: str | None,
    since: datetime,
    until: datetime | None,
    *,
    triggered_by: TriggeredBy,
    only_missing: bool = False,
    dry_run: bool = False,
) -> shapes.Backfill:
    """Run the slots from *since* to *until* that have no run yet, as one operation.

    Args:
        app: The gateway.
        record: The pipeline.
        wanted: Id of the schedule; None: the only one.
        since: The first slot is then or later.
        until: The last slot is then or earlier; None, or in the future: now.
        triggered_by: Who asks.
        only_missing: Leave out slots whose run failed, too.
        dry_run: Only count them.

    Raises:
        RequestRefused: The schedule cannot be run, or the range is empty, in the future, or too large.
        BusError: The bus did not answer.
    """
    schedule = _schedule(record, wanted)
    at = now()
    until = at if until is None else min(until, at)
    if since > until:
        why = "from lies in the future; slots to come run by themselves." if since > at else "from is later than to."
        raise RequestRefused(422, why)
    state = app[MODEL].schedule_states.get(JobRef(record.name, schedule.id))
    anchor = state.anchor if state is not None and state.definition == definition(schedule) else at
    most = app[SETTINGS].backfill_slots_max
    try:
        slots = await asyncio.to_thread(slots_in, schedule, since, until, anchor, most)
    except TooManySlots as error:
        raise RequestRefused(
            422,
            f"{error}; one backfill runs at most {most:,}. Give a shorter range, or raise FASTFLOW_BACKFILL_SLOTS_MAX "
            "of the gateways.",
        ) from error
    items = await _items(app[MODEL], record, schedule, slots, only_missing=only_missing)
    operation = None
    if items and not dry_run:
        asked = OperationRecord(
            id=operations.new_id(),
            kind="backfill",
            created_at=at,
            triggered_by=triggered_by,
            total=len(items),
            pipeline=record.name,
            schedule=schedule.id,
            run_config_id=schedule.run_config_id,
        )
        operation = shown(await operations.ask_for(app, asked, tuple(items)))
    return shapes.Backfill(
        schedule=schedule.id,
        definition=definition(schedule),
        slots=len(slots),
        existing=len(slots) - len(items),
        first=items[0].slot if items else None,
        last=items[-1].slot if items else None,
        note=None if slots else why_none(schedule, anchor),
        operation=operation,
    )


def _schedule(record: PipelineRecord, wanted: str | None) -> PipelineSchedule:
    """The schedule with this id, whole or without ``schedules/``. Raises ``RequestRefused``."""
    if record.live is None:
        raise RequestRefused(409, f"{record.name} has no valid version, so none of its slots can run.")
    if not record.live.spec.enabled:
        raise RequestRefused(404, f'{record.name} is disabled; set "enabled": true in its metadata.')
    known = {each.id: each for each in record.live.spec.schedule_list()}
    names = ", ".join(sorted(each.removeprefix("schedules/") for each in known)) or "none"
    if wanted is None and len(known) == 1:
        (wanted,) = known
    if wanted is None:
        raise RequestRefused(422, f"name one of the schedules of {record.name}: {names}.")
    found = known.get(wanted) or known.get(f"schedules/{wanted}")
    if found is None:
        raise RequestRefused(404, f"{record.name} has no schedule {wanted[:64]!r}; its schedules are: {names}.")
    if not found.enabled:
        raise RequestRefused(409, f"the schedule {found.id} is disabled in the metadata; enable it there first.")
    return found


async def _items(
    model: ReadModel,
    record: PipelineRecord,
    schedule: PipelineSchedule,
    slots: Sequence[datetime],
    *,
    only_missing: bool,
) -> list[OperationItem]:
    """What is to run, in the order of *slots*. Raises ``BusError``."""
    found: dict[datetime, RunId | None] = {}
    queue = iter(slots)

    async def look() -> None:
        for slot in queue:
            found[slot] = await _missing(model, run_id_for_slot(record.name, schedule.id, slot), only_missing)

    async with asyncio.TaskGroup() as group:
        for number in range(LOOKS_MAX):
            group.create_task(look(), name=f"backfill-look-{number}")
    return [
        OperationItem(pipeline=record.name, run_id=run_id, slot=slot)
        for slot in slots
        if (run_id := found[slot]) is not None
    ]


async def _missing(model: ReadModel, slot_run: RunId, only_missing: bool) -> RunId | None:
    """The run to create for a slot; None: it has one. After a failed one its next derives from it."""
    run_id = slot_run
    for number in range(1, TRIES_MAX):
        known = await model.run(run_id)
        if known is None:
            return run_id
        state = known.run.state
        has_failed = isinstance(state, Ended) and state.verdict is not Verdict.SUCCESS
        if not has_failed or (only_missing and not known.run.is_refused):
            return None
        run_id = run_id_for_child(slot_run, f"backfill/{number}")
    return None
