"""Whether a daemon crashes, is restarted, and crashes again. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final, assert_never

from fastflow_contracts.ids import RunId
from fastflow_contracts.runs.run import Ended, Pending, Run, Running, Verdict

CRASHES_MIN: Final = 3
"""In a row: fewer are no loop."""
CRASHES_MAX: Final = 100
"""More are not counted."""
QUICK: Final = timedelta(minutes=10)
"""A daemon that runs longer before it fails is restarted now and then, which is what restarts are for."""
GAP: Final = timedelta(minutes=1)
"""How long after a crash its restart may take to be there."""


def crash_loop(latest: Iterable[Run], find: Callable[[RunId], Run | None], now: datetime) -> tuple[Run, ...]:
    """The crashed runs of a loop that goes on at *now*, newest first; empty if there is none.

    *latest*: the newest runs of one pipeline, newest first; *find*: any run that is known.
    """
    head = next((run for run in latest if run.order.triggered_by == "daemon_restart"), None)
    if head is None or not _goes_on(head, now):
        return ()
    crashed = [head] if head.is_over else []
    run: Run | None = head
    while run is not None and run.order.triggered_by == "daemon_restart" and len(crashed) < CRASHES_MAX:
        run = find(run.order.parent_run_id) if run.order.parent_run_id is not None else None
        if run is None or not _crashed(run):
            break
        crashed.append(run)
    return tuple(crashed) if len(crashed) >= CRASHES_MIN else ()


def _goes_on(head: Run, now: datetime) -> bool:
    """Is the newest restart to come, too young to be judged, or a crash that is to be followed by the next?"""
    match head.state:
        case Pending():
            return True
        case Running() as state:
            return now - (state.prepared_at or state.claimed_at) < QUICK
        case Ended(at=at):
            return _crashed(head) and now - at < GAP
        case _:
            assert_never(head.state)


def _crashed(run: Run) -> bool:
    if not (isinstance(run.state, Ended) and run.state.verdict is Verdict.FAILED and run.attempts):
        return False
    last = run.attempts[-1]
    return last.finished_at - (last.started_at or last.claimed_at) < QUICK
