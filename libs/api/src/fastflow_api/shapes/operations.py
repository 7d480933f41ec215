"""Operations: many starts or cancels that are asked for at once. Data only."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from fastflow_api.shapes.base import Shape
from fastflow_api.shapes.bodies import Body
from fastflow_api.shapes.runs import Status, TriggeredBy

BulkAction = Literal["cancel", "retry", "replay"]


class Operation(Shape, frozen=True, kw_only=True):
    """A backfill, or a cancel, retry or replay of many runs, and how far it is."""

    id: str
    kind: Literal["backfill", "cancel", "retry", "replay"]
    state: Literal["running", "stopping", "done", "cancelled"]
    """``stopping``: it was cancelled, and its runs are not over yet."""
    created_at: datetime
    ended_at: datetime | None
    """When its last run was over."""
    triggered_by: TriggeredBy
    pipeline_name: str | None
    """Of a backfill."""
    schedule: str | None
    """Of a backfill."""
    total: int
    """Slots or runs that it is about."""
    done: int
    """How many of them it has carried out."""
    changed: int
    """How many runs it started, or cancelled."""
    unchanged: int
    """How many needed nothing: the run was there, or over, already."""
    refused: int
    reasons: tuple[str, ...]
    """Why some were refused; at most ten."""
    waiting_on: str | None
    """Why it does not go on at the moment."""


class OperationList(Shape, frozen=True, kw_only=True):
    """The operations of the last 30 days, newest first."""

    operations: tuple[Operation, ...]


class BackfillBody(Body, frozen=True, kw_only=True, rename={"since": "from", "until": "to"}):
    """Which slots of a schedule to run."""

    since: str
    """ISO 8601 date or time (UTC): the first slot is then or later."""
    until: str | None = None
    """The last slot is then or earlier; a date counts as its last moment. Null: now."""
    schedule: str | None = None
    """The id of the schedule; null: the only one."""
    only_missing: bool = False
    """Leave out slots whose run failed or was interrupted, too."""
    dry_run: bool = False
    """Only count them."""


class Backfill(Shape, frozen=True, kw_only=True):
    """The slots of a backfill, and the operation that runs them."""

    schedule: str
    definition: str
    """Its timing as it is today, in words: that counts, also for the past."""
    slots: int
    existing: int
    """Slots that are left out: they have a run already."""
    first: datetime | None
    """The first slot to run; null: there is none."""
    last: datetime | None
    note: str | None
    """Why there are no slots."""
    operation: Operation | None
    """Null: it was a dry run, or there is nothing to run."""


class BulkFilter(Body, frozen=True, kw_only=True):
    """Which runs: those that match all that is given."""

    pipeline_name: str | None = None
    status: Status | None = None
    triggered_by: TriggeredBy | None = None
    start_date: str | None = None
    """ISO 8601 date or time (UTC): runs created then or later."""
    end_date: str | None = None
    """Runs created up to then; a date counts as its last moment."""


class BulkBody(Body, frozen=True, kw_only=True):
    """What to do with many runs."""

    action: BulkAction
    """``replay`` starts what came from outside again, with the pipelines' current code: runs by API, webhook, message
    and hand, each first run only."""
    filter: BulkFilter = BulkFilter()
    code: Literal["same", "current"] = "same"
    """Of a retry."""
    dry_run: bool = False
    """Only count the runs."""
    expect: int | None = None
    """How many runs the caller expects, as a dry run has counted them. Required without ``dry_run``."""


class Bulk(Shape, frozen=True, kw_only=True):
    """How many runs match, and the operation that acts on them."""

    matched: int
    by_pipeline: dict[str, int]
    operation: Operation | None
    """Null: it was a dry run, or no run matches."""
