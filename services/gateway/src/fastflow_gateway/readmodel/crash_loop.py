"""Finds daemons that crash again and again after each restart. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final, assert_never

from fastflow_contracts.ids import RunId
from fastflow_contracts.runs.run import Ended, Pending, Running, RunRecord, Verdict

CRASHES_MIN: Final = 3
"""Crashes in a row that make a loop."""
CRASHES_MAX: Final = 100
"""Most crashes to count."""
QUICK: Final = timedelta(minutes=10)
"""A run that fails later than this is no quick crash: now and then a restart is normal."""
GAP: Final = timedelta(minutes=1)
"""How long after a crash its restart may take to appear."""


def crash_loop(
    latest: Iterable[RunRecord], find: Callable[[RunId], RunRecord | None], now: datetime
) -> tuple[RunRecord, ...]:
    """Find the crash loop that a daemon is in at *now*.

    Args:
        latest: The newest runs of one pipeline, newest first.
        find: Returns any known run by its id.
        now: The time to judge by.

    Returns:
        The crashed runs of the loop, newest first; empty if there is none.
    """
    head = next((run for run in latest if run.order.triggered_by == "daemon_restart"), None)
    if head is None or not _goes_on(head, now):
        return ()
    crashed = [head] if head.is_over else []
    run: RunRecord | None = head
    while run is not None and run.order.triggered_by == "daemon_restart" and len(crashed) < CRASHES_MAX:
        run = find(run.order.parent_run_id) if run.order.parent_run_id is not None else None
        if run is None or not _crashed(run):
            break
        crashed.append(run)
    return tuple(crashed) if len(crashed) >= CRASHES_MIN else ()


def _goes_on(head: RunRecord, now: datetime) -> bool:
    """Whether the newest restart waits, is too young to judge, or crashed with the next restart about to come."""
    match head.state:
        case Pending():
            return True
        case Running() as state:
            return now - (state.prepared_at or state.claimed_at) < QUICK
        case Ended(at=at):
            return _crashed(head) and now - at < GAP
        case _:
            assert_never(head.state)


def _crashed(run: RunRecord) -> bool:
    if not (isinstance(run.state, Ended) and run.state.verdict is Verdict.FAILED and run.attempts):
        return False
    last = run.attempts[-1]
    return last.finished_at - (last.started_at or last.claimed_at) < QUICK
