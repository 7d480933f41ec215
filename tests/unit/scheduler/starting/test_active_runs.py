"""The active runs as one scheduler knows them."""

from __future__ import annotations

import asyncio

import pytest

from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.runs.state_machine import Cancel, Claim, decide, fold
from fastflow_contracts.starting.active_runs import ActiveRuns
from fastflow_contracts.starting.ceilings import Ceilings
from tests.support.ids import fresh_run_id
from tests.support.records import a_run, at


def test_it_keeps_nothing_of_runs_that_are_over() -> None:
    """Memory grows with the active runs only."""
    active = ActiveRuns()
    for revision in range(0, 2000, 2):
        run = a_run()
        active.see(run, revision)
        active.see(fold(run, decide(run, Cancel(), now=at(1))), revision + 1)
    last = a_run()
    active.see(last, 2000)
    assert [member.run_id for member in active.of(last.pipeline)] == [last.id]
    assert (len(active._runs), len(active._waiting_of), len(active._waiting_from)) == (1, 1, 1)
    active.forget(last.id, 2001)
    assert (active.of(last.pipeline), active._runs, active._waiting_of, active._waiting_from) == ((), {}, {}, {})


def test_it_counts_waiting_runs_by_pipeline_and_by_chain() -> None:
    """A running one does not wait."""
    active, root = ActiveRuns(), fresh_run_id()
    runs = [a_run("a", root_run_id=root), a_run("b", root_run_id=root), a_run("b")]
    for revision, run in enumerate(runs):
        active.see(run, revision)
    assert (active.waiting_of(runs[1].pipeline), active.waiting_from(root)) == (2, 2)
    active.see(fold(runs[1], decide(runs[1], Claim(attempt=1, runner="r"), now=at(1))), 3)
    assert (active.waiting_of(runs[1].pipeline), active.waiting_from(root)) == (1, 1)
    assert len(active.of(runs[1].pipeline)) == 2


def test_a_run_that_was_just_created_counts_before_the_feed_brings_it() -> None:
    """But not if the feed has brought more by then: it may be over."""
    active, run, late = ActiveRuns(), a_run(), a_run()
    active.add(run, 5)
    assert Ceilings(waiting=1).refusal(late, active)
    assert not Ceilings(waiting=2).refusal(late, active)
    active.see(fold(run, decide(run, Cancel(), now=at(1))), 6)
    active.add(late, 4)
    assert active.of(run.pipeline) == ()


def test_a_flood_of_starts_keeps_no_daemon_from_its_restart() -> None:
    """It takes the place of the run that ended; a refusal would end the daemon for good."""
    active, root = ActiveRuns(), fresh_run_id()
    active.see(a_run(root_run_id=root), 1)
    for ceilings in (Ceilings(waiting=1), Ceilings(chain_waiting=1)):
        assert ceilings.refusal(a_run(root_run_id=root), active)
        assert not ceilings.refusal(a_run(root_run_id=root, triggered_by="daemon_restart"), active)


async def test_a_decision_waits_until_the_feed_has_come_far_enough() -> None:
    """Any number of them wait for one feed."""
    active = ActiveRuns()
    with pytest.raises(Unavailable):
        await active.up_to(0)  # not even the first runs are known
    active.complete()
    await active.up_to(0)
    waiting = [asyncio.create_task(active.up_to(revision)) for revision in (2, 3, 3)]
    await asyncio.sleep(0)
    active.see(a_run(), 2)
    await waiting[0]
    assert not waiting[1].done()
    active.pass_over(3)
    await asyncio.gather(*waiting)
