"""Operations: many starts or cancels that are asked for at once, such as a backfill. Data, and how it changes.

A gateway stores the items of an operation, in chunks that never change, and then its record. One scheduler at a time
holds the record and carries the items out in order; it writes how far it is by compare-and-set. An item that is carried
out twice does it once. A gateway changes the record once more: to ask for the end.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from fastflow_contracts.base import Count, Fact, Instant, StoredName, StoredRunId
from fastflow_contracts.codec import Codec
from fastflow_contracts.ids import RunId, run_id_for_child
from fastflow_contracts.runs.messages import RetriedCode
from fastflow_contracts.runs.run import TriggeredBy

OperationKind: TypeAlias = Literal["backfill", "cancel", "retry"]
OperationState: TypeAlias = Literal["running", "stopping", "done", "cancelled"]

CHUNK_ITEMS: Final = 500
ITEMS_MAX: Final = 10_000
"""Items of one operation."""
REASONS_MAX: Final = 10
"""Different reasons of refusals to keep."""
REASON_CHARACTERS_MAX: Final = 300

_Reason: TypeAlias = Annotated[str, msgspec.Meta(max_length=1000)]


class OperationItem(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """One thing to do."""

    pipeline: StoredName
    run_id: StoredRunId
    """Of a backfill: the run to create. Else: the run to cancel or to retry."""
    slot: Instant | None = None
    """Of a backfill."""


class OperationItems(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A chunk of items. Stored under ``items.<operation>.<chunk>``."""

    v: Count = 1
    items: Annotated[tuple[OperationItem, ...], msgspec.Meta(max_length=CHUNK_ITEMS)] = ()
    write_id: str = ""


class OperationRecord(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """What to do with the items, and how far it is. Stored under ``operation.<id>``."""

    v: Count = 1
    id: StoredRunId
    kind: OperationKind
    created_at: Instant
    triggered_by: TriggeredBy
    """Who asked for it."""
    total: Count
    """How many items it has."""
    pipeline: StoredName | None = None
    """Of a backfill."""
    schedule: str | None = None
    """Of a backfill: the id of its schedule."""
    run_config_id: str | None = None
    code: RetriedCode = "same"
    """Of a retry."""
    position: Count = 0
    """How many items are done."""
    changed: Count = 0
    """How many runs it started, or cancelled."""
    unchanged: Count = 0
    """Items that needed nothing: the run was there, or over, already."""
    refused: Count = 0
    reasons: tuple[_Reason, ...] = ()
    """Why some were refused."""
    waiting_on: str = ""
    """Why it does not go on at the moment."""
    cancel_requested: bool = False
    ended_at: Instant | None = None
    holder: str = ""
    """The scheduler that carries it on."""
    write_id: str = ""

    @property
    def state(self) -> OperationState:
        if self.ended_at is None:
            return "stopping" if self.cancel_requested else "running"
        return "cancelled" if self.cancel_requested else "done"


def advanced(record: OperationRecord, *, changed: bool = False, refusal: str | None = None) -> OperationRecord:
    """Return *record* after one more item: it *changed* something, needed nothing, or met a *refusal*."""
    reasons = record.reasons
    if refusal is not None:
        refusal = refusal[:REASON_CHARACTERS_MAX]
        if refusal not in reasons and len(reasons) < REASONS_MAX:
            reasons = (*reasons, refusal)
    return replace(
        record,
        position=record.position + 1,
        changed=record.changed + changed,
        refused=record.refused + (refusal is not None),
        unchanged=record.unchanged + (not changed and refusal is None),
        reasons=reasons,
        waiting_on="",
    )


def ended(record: OperationRecord, now: datetime) -> OperationRecord:
    """Return *record* as over at *now*."""
    return replace(record, ended_at=now, waiting_on="", holder="")


def retried_id(operation: RunId, run_id: RunId) -> RunId:
    """Return the run that the retry of *run_id* by *operation* starts."""
    return run_id_for_child(run_id, f"operation/{operation}")


OPERATION = Codec(OperationRecord)
OPERATION_ITEMS = Codec(OperationItems)
