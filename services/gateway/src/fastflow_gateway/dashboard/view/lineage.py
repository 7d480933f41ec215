"""The chain around a run: its parent, its children, and refused starts. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec

from fastflow_api import shapes
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.run import RunRecord, RunStatus, TriggeredBy
from fastflow_gateway.views import skipped

LINGER: Final = timedelta(seconds=15)
"""How long after the end of a run its children may take to appear."""


class Relative(msgspec.Struct, frozen=True, kw_only=True):
    """A run before or after this one. ``status`` None: its record is gone."""

    relation: str
    run_id: str
    pipeline: str | None = None
    status: RunStatus | None = None


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """The parent, then the children, oldest first; ``more``: there are more children than shown.

    ``root``: the first run of all, if that is neither this run nor its parent.
    """

    root: Relative | None = None
    parent: Relative | None
    children: tuple[Relative, ...]
    more: bool
    skips: tuple[shapes.Skip, ...]

    @property
    def is_empty(self) -> bool:
        return self.parent is None and not self.children and not self.skips


def chain(
    run: RunRecord,
    parent: RunRecord | None,
    children: list[RunRecord],
    skips: Iterable[messages.SkipRecord],
    *,
    children_max: int,
    root: RunRecord | None = None,
) -> Chain:
    """Make the chain of *run*. *parent*, *root*: None if there is none, or if it is gone. *skips*: newest first."""
    before = first = None
    if run.root_run_id not in (run.id, run.order.parent_run_id):
        first = Relative(
            relation="First run",
            run_id=run.root_run_id,
            pipeline=root.pipeline if root else None,
            status=root.status if root else None,
        )
    if run.order.parent_run_id is not None:
        before = Relative(
            relation=_upwards(run.order.triggered_by),
            run_id=run.order.parent_run_id,
            pipeline=parent.pipeline if parent else None,
            status=parent.status if parent else None,
        )
    return Chain(
        root=first,
        parent=before,
        children=tuple(
            Relative(
                relation=_downwards(child.order.triggered_by),
                run_id=child.id,
                pipeline=child.pipeline,
                status=child.status,
            )
            for child in children[:children_max]
        ),
        more=len(children) > children_max,
        skips=tuple(map(skipped.skip, skips)),
    )


def may_change(run: shapes.Run, around: Chain, now: datetime) -> bool:
    """Whether the page may still change. It may after the run's end too: children start then, and run on."""
    if run.finished_at is None or now - run.finished_at < LINGER:
        return True
    return any(child.status in (RunStatus.PENDING, RunStatus.RUNNING) for child in around.children)


def _upwards(triggered_by: TriggeredBy) -> str:
    match triggered_by:
        case "downstream":
            return "Started by"
        case "daemon_restart":
            return "Restart of"
        case _:
            return "Again, after"


def _downwards(triggered_by: TriggeredBy) -> str:
    match triggered_by:
        case "downstream":
            return "Started"
        case "daemon_restart":
            return "Restarted as"
        case _:
            return "Run again as"
