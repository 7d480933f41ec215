"""The jobs on the page of schedules, in their order. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec

from fastflow_api import shapes
from fastflow_api.formatting import slot
from fastflow_contracts.ids import RunId, run_id_for_slot
from fastflow_contracts.runs import run as records
from fastflow_contracts.schedules.schedule import RESTART_ID
from fastflow_contracts.schedules.slots import latest
from fastflow_gateway.dashboard.view import words
from fastflow_gateway.views import jobs, pipeline_shapes, run_shapes

LATE: Final = timedelta(seconds=5)
"""A slot that is due for this long without a run gets a warning."""
SLOTS: Final = 3
"""How many of the next slots are shown."""


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """One job, as the page shows it."""

    job: jobs.Job
    name: str
    """Which schedule of the pipeline; empty for its own, unnamed one."""
    words: str
    last_run: shapes.RunMark | None
    """The run of ``job.last_run_time``, if it is known."""
    note: str | None
    is_locked: bool
    """The pipeline's metadata disable the job, so the switch cannot enable it."""
    off_since: datetime | None
    late_slot: datetime | None
    """A slot that is due and has no run yet."""
    slots: str
    """The next slots, as text."""

    @property
    def search_words(self) -> str:
        return words.plain(f"{self.job.pipeline} {self.name} {self.words}").lower()


def job_views(
    known: Iterable[jobs.KnownJob], now: datetime, *, run_of: Callable[[RunId], records.RunRecord | None]
) -> list[JobView]:
    """Firing jobs first, by next slot; then the others, by name."""
    far = datetime.max.replace(tzinfo=now.tzinfo)
    shown = [_view(each, now, run_of) for each in known]
    return sorted(shown, key=lambda view: (view.job.next_run_time or far, view.job.pipeline, view.job.schedule))


def summary(views: Iterable[JobView]) -> str:
    """``12 schedules· 3 inactive``."""
    shown = list(views)
    silent = sum(view.job.next_run_time is None for view in shown)
    said = f"{len(shown)} schedule{'' if len(shown) == 1 else 's'}"
    return f"{said} · {silent} inactive" if silent else said


def _view(known: jobs.KnownJob, now: datetime, run_of: Callable[[RunId], records.RunRecord | None]) -> JobView:
    job = jobs.job(known, now)
    run = None
    if job.last_run_time is not None and job.schedule != RESTART_ID:
        run = run_of(run_id_for_slot(job.pipeline, job.schedule, job.last_run_time))
    late_slot = _late_slot(known, now)
    return JobView(
        job=job,
        name=job.run_config_id or {"restart": "restart", "once": "once"}.get(job.kind, ""),
        words=words.schedule_words(pipeline_shapes.schedule(known.definition)),
        last_run=run_shapes.mark(run) if run else None,
        note=job.note,
        is_locked=not known.definition.enabled,
        off_since=known.state.idle_since if known.state and not known.fires else None,
        late_slot=late_slot,
        slots=", ".join(slot(at, now) for at in jobs.next_runs(known, now, SLOTS)),
    )


def _late_slot(known: jobs.KnownJob, now: datetime) -> datetime | None:
    state = known.state
    if state is None or not known.fires or known.is_paused or state.idle_since is not None:
        return None
    return next(iter(latest(known.definition, state.done_until, now - LATE, 1, state.anchor)), None)
