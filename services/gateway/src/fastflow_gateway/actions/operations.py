"""Ask for operations, and for their end. A refusal is ``RequestRefused``. I/O; the schedulers carry them on."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Final

from aiohttp import web
from msgspec.structs import replace

from fastflow_api import shapes
from fastflow_contracts.clock import now
from fastflow_contracts.ids import BadRunId, RunId, check_run_id
from fastflow_contracts.runs.messages import RetriedCode
from fastflow_contracts.runs.operations.records import ITEMS_MAX, OperationItem, OperationKind, OperationRecord
from fastflow_contracts.runs.operations.store import Items, OperationStore
from fastflow_contracts.runs.run import RunRecord, TriggeredBy
from fastflow_gateway import app_keys
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.run_index import RunFilter
from fastflow_gateway.views.operations import operation as shown

RUNNING_MAX: Final = 100
"""Operations that are not over."""
DECODED_MAX: Final = 500
"""Runs to look at before other tasks get their turn: a few milliseconds."""
FROM_OUTSIDE: Final[tuple[TriggeredBy, ...]] = ("api", "webhook", "bus", "manual")


def new_id() -> RunId:
    """A new operation's id."""
    return RunId(str(uuid.uuid4()))


async def ask_for(app: web.Application, record: OperationRecord, items: Items) -> OperationRecord:
    """Store an operation; a scheduler begins it soon.

    Raises:
        RequestRefused: Too many are not over yet.
        BusError: The bus did not store it.
    """
    running = sum(1 for each in app[MODEL].operations.values() if each.ended_at is None)
    if running >= RUNNING_MAX:
        raise RequestRefused(429, f"{running} operations are not over yet; wait, or cancel some of them.")
    await OperationStore(app[app_keys.BUS]).create(record, items)
    app[MODEL].operations.setdefault(record.id, record)
    return record


async def cancel(app: web.Application, text: str) -> OperationRecord:
    """Ask for the end of an operation: it starts nothing more, and its runs are cancelled.

    Returns:
        Its record. A repeat changes nothing.

    Raises:
        RequestRefused: There is no such operation, or it is over.
        BusError: The bus did not store it.
    """
    known = with_id(app, text)

    def asked(stored: OperationRecord | None) -> OperationRecord | None:
        if stored is None:
            raise _none_such(text)
        if stored.ended_at is not None:
            raise RequestRefused(409, f"operation {known.id} is over already: {stored.state}.")
        return None if stored.cancel_requested else replace(stored, cancel_requested=True)

    stored = await OperationStore(app[app_keys.BUS]).records.change(known.id, asked, changes_max=50)
    return stored.value or known


def with_id(app: web.Application, text: str) -> OperationRecord:
    """Find an operation. Raises ``RequestRefused``."""
    try:
        found = app[MODEL].operations.get(check_run_id(text))
    except BadRunId:
        found = None
    if found is None:
        raise _none_such(text)
    return found


def listed(app: web.Application) -> list[OperationRecord]:
    """All known operations, newest first."""
    return sorted(app[MODEL].operations.values(), key=lambda each: (each.created_at, each.id), reverse=True)


async def matching(app: web.Application, action: shapes.BulkAction, wanted: RunFilter) -> list[RunRecord]:
    """The runs that *action* is about, oldest first: active ones to cancel, ended ones to start again.

    Other requests get their turn meanwhile: a gateway knows up to 100,000 runs.
    """
    index, found = app[MODEL].runs, list[RunRecord]()
    for number, run_id in enumerate(index.ids_matching(wanted), 1):
        known = index.get(run_id)
        if known is not None and _is_about(action, known.run):
            found.append(known.run)
        if number % DECODED_MAX == 0:
            await asyncio.sleep(0)
    return found


async def act_on(
    app: web.Application,
    action: shapes.BulkAction,
    runs: Sequence[RunRecord],
    *,
    triggered_by: TriggeredBy,
    code: RetriedCode,
    expect: int | None,
    dry_run: bool,
) -> shapes.Bulk:
    """Cancel or start again *runs*, in this order.

    Args:
        app: The gateway.
        action: What to do.
        runs: The runs, as ``matching`` returns them.
        triggered_by: Who asks.
        code: Of a retry; a replay takes the pipelines' current code.
        expect: How many runs the caller expects.
        dry_run: Only count them.

    Raises:
        RequestRefused: There are too many, or not as many as expected.
        BusError: The bus did not store the operation.
    """
    operation = None
    if not dry_run:
        _check_count(len(runs), expect)
        if runs:
            kind: OperationKind = "cancel" if action == "cancel" else "retry"
            record = OperationRecord(
                id=new_id(),
                kind=kind,
                created_at=now(),
                triggered_by=triggered_by,
                total=len(runs),
                code="current" if action == "replay" else code,
            )
            items = tuple(OperationItem(pipeline=run.pipeline, run_id=run.id) for run in runs)
            operation = shown(await ask_for(app, record, items))
    by_pipeline = Counter(str(run.pipeline) for run in runs)
    return shapes.Bulk(matched=len(runs), by_pipeline=dict(sorted(by_pipeline.items())), operation=operation)


def _check_count(matched: int, expect: int | None) -> None:
    if expect is None:
        raise RequestRefused(
            422, f'{matched:,} runs match; to act on them send "expect": {matched}, or "dry_run": true to look again.'
        )
    if expect != matched:
        raise RequestRefused(
            409, f'{matched:,} runs match now, not {expect:,}; nothing was done. Look again with "dry_run": true.'
        )
    if matched > ITEMS_MAX:
        raise RequestRefused(422, f"{matched:,} runs match; at most {ITEMS_MAX:,} at once. Narrow the filter.")


def _is_about(action: shapes.BulkAction, run: RunRecord) -> bool:
    if action == "cancel":
        return not run.is_over
    return run.is_over and not run.is_refused and (action == "retry" or _is_from_outside(run))


def _is_from_outside(run: RunRecord) -> bool:
    """Whether it was started by a trigger, and not by a retry of one."""
    return run.order.triggered_by in FROM_OUTSIDE and run.order.parent_run_id is None


def _none_such(text: str) -> RequestRefused:
    return RequestRefused(404, f"there is no operation {text[:64]!r}; GET /api/operations lists them.")
