"""The index of runs: pages, counts, children, and what is forgotten."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.run import (
    Ended,
    Running,
    RunRecord,
    RunStatus,
    Verdict,
)
from fastflow_gateway.readmodel.run_index import BadCursor, RunFilter, RunIndex
from tests.support.records import a_run, at

RUNS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 50), st.sampled_from([None, *Verdict])), max_size=40
).map(lambda rows: [_run(*row) for row in rows])

ENDED = Ended(verdict=Verdict.FAILED, at=at(0))


def _run(pipeline: str, created: int, verdict: Verdict | None) -> RunRecord:
    run = a_run(pipeline, created=created)
    return run if verdict is None else replace(run, state=Ended(verdict=verdict, at=at(created + 2)))


def _history(runs: list[RunRecord], **bounds: int) -> RunIndex:
    history = RunIndex(**bounds)
    for revision, run in enumerate(runs, start=1):
        history.put(run, revision)
    return history


@given(RUNS, st.integers(1, 7), st.sampled_from([None, "a", "b"]), st.sampled_from([None, *RunStatus]))
def test_pages_show_every_matching_run_once_newest_first(
    runs: list[RunRecord], limit: int, pipeline: str | None, status: RunStatus | None
) -> None:
    """With any filter and any size of a page."""
    history, seen, cursor = _history(runs), list[RunRecord](), None
    while True:
        page, cursor = history.page(RunFilter(pipeline=pipeline, status=status), limit=limit, cursor=cursor)
        assert len(page) <= limit
        seen += page
        if cursor is None:
            break
    wanted = [r for r in runs if pipeline in (None, r.pipeline) and status in (None, r.status)]
    assert sorted(r.id for r in seen) == sorted(r.id for r in wanted)
    assert all(newer.created_at >= older.created_at for newer, older in pairwise(seen))


@given(RUNS, st.integers(0, 50), st.integers(0, 50))
def test_dates_are_inclusive(runs: list[RunRecord], since: int, until: int) -> None:
    """Both ends belong to the range."""
    page, _ = _history(runs).page(RunFilter(since=at(since), until=at(until)), limit=1000)
    assert {r.id for r in page} == {r.id for r in runs if at(since) <= r.created_at <= at(until)}


@given(RUNS, st.integers(1, 10))
def test_totals_include_forgotten_runs(runs: list[RunRecord], runs_max: int) -> None:
    """Beyond the bound the oldest ended runs are forgotten; they still count. Active runs are never forgotten."""
    history = _history(runs, runs_max=runs_max)
    active = [r for r in runs if not r.is_over]
    assert len(history) <= max(runs_max, len(active))
    assert all(history.get(r.id) for r in active)
    for name in "ab":
        counts = history.counts(name)
        of_it = [r for r in runs if r.pipeline == name]
        assert (counts.total, counts.active) == (len(of_it), len([r for r in of_it if not r.is_over]))
        assert counts.successful == len([r for r in of_it if r.status is RunStatus.SUCCESS])


def test_an_older_revision_changes_nothing() -> None:
    """Nor does a repeated one. A newer one replaces what was counted, and a removed run is gone."""
    history, run = RunIndex(), a_run("demo")
    ended = replace(run, state=Ended(verdict=Verdict.SUCCESS, at=at(4)))
    assert history.put(run, 5)
    assert not history.put(ended, 5)
    assert history.put(ended, 6)
    assert not history.put(run, 4)
    counts = history.counts("demo")
    assert (counts.total, counts.successful, counts.active, counts.success_seconds) == (1, 1, 0, 4.0)
    history.remove(run.id)
    history.remove(run.id)
    assert (history.counts("demo").total, len(history), history.latest("demo", 5)) == (0, 0, [])


@pytest.mark.parametrize(
    "cursor", ["x", "1-x", "-", "1-" + "g" * 36, "9" * 30 + "-00000000-0000-4000-8000-000000000000"]
)
def test_a_foreign_cursor_is_refused(cursor: str) -> None:
    """Only cursors that we made are valid."""
    with pytest.raises(BadCursor):
        RunIndex().page(RunFilter(), limit=1, cursor=cursor)


def test_children_of_a_run_are_found_until_they_are_forgotten() -> None:
    """Oldest first, at most as many as requested."""
    history, parent = RunIndex(runs_max=3), a_run()
    children = [
        replace(
            a_run(f"child{n}", created=n, parent_run_id=parent.id), state=Ended(verdict=Verdict.SUCCESS, at=at(n + 1))
        )
        for n in (2, 1, 3)
    ]
    for revision, run in enumerate((parent, *children), start=1):
        history.put(run, revision)
    assert [run.pipeline for run in history.children(parent.id, 2)] == ["child2", "child3"]
    for child in children:
        history.remove(child.id)
    assert history.children(parent.id, 2) == []


def _calls(work: Callable[[], object]) -> int:
    """How many functions *work* calls, ours and the interpreter's."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def _work_with(active: int) -> int:
    """What a run costs from its start to its end, and the first page of each status, beside *active* older runs."""
    ended = [_run("a", created, Verdict.SUCCESS) for created in range(active, active + 100)]
    history = _history([a_run("ab"[n % 2], created=n) for n in range(active)] + ended, runs_max=active + 100)
    run = a_run("a", created=2 * active)
    running = replace(run, state=Running(claimed_at=at(2 * active), attempt=1, epoch=1, runner="r1"))

    def work() -> None:
        for revision, version in enumerate((run, running, replace(run, state=ENDED)), start=3 * active):
            history.put(version, revision)
            for status in RunStatus:
                history.count(status)
                history.page(RunFilter(pipeline="a", status=status), limit=10)
                history.page(RunFilter(status=status), limit=10)

    return _calls(work)


def test_a_change_costs_the_same_however_many_runs_are_active() -> None:
    """Counted in calls, not in time: nothing looks at all active runs, not even to forget the oldest one that ended."""
    few, many = _work_with(500), _work_with(8_000)
    assert many <= few * 1.05


def test_a_version_that_moves_a_run_breaks_nothing() -> None:
    """Anyone who may write runs may change what never changes; the run is found at its new place only."""
    history, run = RunIndex(), a_run("a", created=5)
    history.put(run, 1)
    history.put(replace(run, pipeline=PipelineName("b"), created_at=at(1)), 2)
    assert [len(history.latest(name, 9)) for name in "ab"] == [0, 1]
    assert [history.counts(name).total for name in "ab"] == [0, 1]
    history.remove(run.id)
    assert history.page(RunFilter(), limit=9) == ([], None)
