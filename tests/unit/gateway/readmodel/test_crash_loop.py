"""Daemons that crash again and again, and the runs that a run has started."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from fastflow_contracts.runs import messages
from fastflow_contracts.runs.run import (
    AttemptRecord,
    Ended,
    Pending,
    RunErrorType,
    Running,
    RunRecord,
    Verdict,
)
from fastflow_gateway.dashboard.view.lineage import Chain, chain, may_change
from fastflow_gateway.readmodel.crash_loop import CRASHES_MAX, GAP, QUICK, crash_loop
from fastflow_gateway.views import pipeline_shapes, run_shapes
from fastflow_gateway.views.waiting import Capacity
from tests.support.records import a_run, at

COOLDOWN_S = 60


def crashed(
    start: float, parent: RunRecord | None = None, *, took: float = 5, verdict: Verdict = Verdict.FAILED
) -> RunRecord:
    """A run that ended *took* seconds after its start; a restart if it has a parent."""
    order: dict[str, Any] = {"triggered_by": "daemon_restart", "parent_run_id": parent.id} if parent else {}
    attempt = AttemptRecord(
        number=1,
        runner="r",
        claimed_at=at(start),
        started_at=at(start),
        finished_at=at(start + took),
        error_type=RunErrorType.SCRIPT_ERROR,
        error_message=f"crash of {start}",
    )
    run = a_run(created=start, **order)
    return replace(run, attempts=(attempt,), state=Ended(verdict=verdict, at=at(start + took)))


def restart_of(parent: RunRecord, start: float, state: Any) -> RunRecord:
    return replace(a_run(created=start, triggered_by="daemon_restart", parent_run_id=parent.id), state=state)


def crashes(*runs: RunRecord, now: float) -> int:
    """Return the number of crashes in a row. *runs* from the oldest to the newest."""
    known = {run.id: run for run in runs}
    return len(crash_loop(reversed(runs), known.get, at(now)))


def a_series(number: int) -> list[RunRecord]:
    runs = [crashed(0)]
    for n in range(1, number):
        runs.append(crashed(n * COOLDOWN_S, runs[-1]))
    return runs


def test_three_quick_crashes_in_a_row_are_a_loop_while_the_next_restart_waits() -> None:
    """Two are not; a run that was started by hand counts as the first."""
    runs = a_series(3)
    waiting = restart_of(runs[-1], 130, Pending(attempt=1, not_before=at(180)))
    assert crashes(*runs, waiting, now=131) == 3
    assert crashes(*runs[:2], restart_of(runs[1], 130, waiting.state), now=131) == 0


def test_a_loop_is_over_once_a_restart_keeps_running() -> None:
    """It must run for some minutes."""
    runs = a_series(4)
    running = restart_of(runs[-1], 240, Running(attempt=1, runner="r", epoch=1, claimed_at=at(240)))
    assert crashes(*runs, running, now=241) == 4
    assert crashes(*runs, running, now=240 + QUICK.total_seconds()) == 0


def test_a_loop_is_over_once_nothing_restarts() -> None:
    """A crash without a restart counts only for a moment; a success or a cancel ends the loop at once."""
    runs = a_series(4)
    end = 3 * COOLDOWN_S + 5
    assert crashes(*runs, now=end) == 4
    assert crashes(*runs, now=end + GAP.total_seconds()) == 0
    for verdict in (Verdict.SUCCESS, Verdict.INTERRUPTED):
        assert crashes(*runs, crashed(300, runs[-1], verdict=verdict), now=306) == 0


def test_a_daemon_that_runs_long_between_crashes_is_not_in_a_loop() -> None:
    """Restarts are made for that. Only later crashes count."""
    runs = a_series(2)
    runs.append(crashed(1000, runs[-1], took=QUICK.total_seconds()))
    runs.append(crashed(2000, runs[-1]))
    assert crashes(*runs, now=2006) == 0


def test_the_count_of_crashes_is_bounded() -> None:
    """Even if it never stops crashing."""
    runs = a_series(CRASHES_MAX + 20)
    assert crashes(*runs, now=(len(runs) - 1) * COOLDOWN_S + 5) == CRASHES_MAX
    shown = pipeline_shapes.crash_loop(runs[::-1])
    assert shown is not None
    newest = f"crash of {(len(runs) - 1) * COOLDOWN_S}"
    assert (shown.crashes, shown.since, shown.error_message) == (len(runs), at(0), newest)


def around(run: RunRecord, parent: RunRecord | None = None, *children: RunRecord, most: int = 5) -> Chain:
    skip = messages.SkipRecord(at=at(9), pipeline="other", reason="it is disabled", parent_run_id=run.id)
    return chain(run, parent, list(children), [skip], children_max=most)


def test_a_run_shows_its_parent_and_its_children() -> None:
    """And how each was started. A parent that is gone is named by its id; beyond a bound there is only a hint that
    there are more.
    """
    parent = a_run("up")
    run = a_run("mid", triggered_by="downstream", parent_run_id=parent.id)
    children = [a_run(f"c{n}", triggered_by=by, parent_run_id=run.id) for n, by in enumerate(("downstream", "manual"))]
    whole = around(run, parent, *children)
    assert whole.parent is not None
    assert (whole.parent.relation, whole.parent.pipeline) == ("Started by", "up")
    assert [child.relation for child in whole.children] == ["Started", "Run again as"]
    assert [(skip.pipeline_name, skip.reason) for skip in whole.skips] == [("other", "it is disabled")]
    lone = around(run, None, *children, most=1)
    assert lone.parent is not None
    assert (lone.parent.run_id, lone.parent.status, lone.more) == (parent.id, None, True)


def test_a_run_shows_the_first_run_of_its_chain() -> None:
    """Unless that is its parent or itself; one that is gone is named by its id."""
    root = a_run("first")
    parent = a_run("up", parent_run_id=root.id, root_run_id=root.id, hops=1)
    run = a_run("mid", triggered_by="downstream", parent_run_id=parent.id, root_run_id=root.id, hops=2)
    shown = chain(run, parent, [], [], children_max=1, root=root).root
    assert shown is not None
    assert (shown.relation, shown.run_id, shown.pipeline) == ("First run", root.id, "first")
    gone = chain(run, parent, [], [], children_max=1).root
    assert gone is not None
    assert (gone.run_id, gone.pipeline, gone.status) == (root.id, None, None)
    assert chain(parent, root, [], [], children_max=1, root=root).root is None
    assert chain(root, None, [], [], children_max=1).root is None


def test_a_page_follows_the_children_of_its_run() -> None:
    """For a moment after the end, and as long as a child runs."""
    run = crashed(0, took=5)
    child = a_run(parent_run_id=run.id)
    shown = run_shapes.run(run, capacity=Capacity(), now=at(6))
    assert may_change(shown, around(run), at(6))
    assert not may_change(shown, around(run), at(60))
    assert may_change(shown, around(run, None, child), at(60))
    assert not may_change(shown, around(run, None, crashed(6, run)), at(60))
