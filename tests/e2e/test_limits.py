"""MAX_CONCURRENT_RUNS over several runners, exact at every revision of the records."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path

import pytest

from fastflow_contracts.bus import streams
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.ids import RunId
from fastflow_contracts.runs.run import RUN, Pending, Running, RunRecord, RunStatus
from tests.support.system import system


@pytest.mark.promise("nothing doubled")
async def test_runs_beyond_the_limit_wait_and_start_oldest_first(bus_url: str, bus: Bus, tmp_path: Path) -> None:
    """Two at once on three runners, six in all; none is refused, and none overtakes another."""
    async with system(bus_url, tmp_path, sandbox="process", runners=3, concurrent_runs_max=2) as fast:
        await fast.pipeline("nap", "import time\ntime.sleep(0.3)\n")
        runs = [await fast.start("nap") for _ in range(6)]
        ends = await asyncio.gather(*(fast.end(ref) for ref in runs))
    assert {run.status for run in ends} == {RunStatus.SUCCESS}
    most, order = await _replay(bus)
    assert most == 2
    by_age = sorted(ends, key=lambda run: run.created_at)
    assert [order.index(run.id) // 2 for run in by_age] == [0, 0, 1, 1, 2, 2]


async def _replay(bus: Bus) -> tuple[int, list[RunId]]:
    """Return the most runs that ever ran at once, and the order of their claims."""
    running: set[RunId] = set()
    order: list[RunId] = []
    most = 0
    changes = feed(bus, streams.bucket_stream("ff_runs"), "$KV.ff_runs.run.>", after=0)
    async with aclosing(changes) as batches:
        async for batch in batches:
            for message in batch.messages:
                run: RunRecord = RUN.decode(message.data)
                if isinstance(run.state, Running):
                    if run.id not in running:
                        order.append(run.id)
                    running.add(run.id)
                else:
                    running.discard(run.id)
                most = max(most, len(running))
            if batch.caught_up:
                return most, order
    raise AssertionError("a feed has no end")


async def test_a_waiting_retry_holds_no_slot(bus_url: str, tmp_path: Path) -> None:
    """Neither of the only runner, which has one, nor of the limit on all runners, which is one."""
    async with system(bus_url, tmp_path, sandbox="process", slots=1, concurrent_runs_max=1) as fast:
        await fast.pipeline("flaky", "raise SystemExit(1)", retry_attempts=1)
        await fast.pipeline("nap", "print(1)")
        waiting = await fast.start("flaky")
        run = await fast.until(waiting, lambda run: bool(run.attempts))
        assert isinstance(run.state, Pending)
        assert run.state.not_before == run.attempts[0].finished_at + timedelta(seconds=60)
        assert (await fast.run("nap")).status is RunStatus.SUCCESS
        still = await fast.until(waiting, lambda run: True)
        assert (still.status, len(still.attempts)) == (RunStatus.PENDING, 1)


async def test_waiting_for_one_kind_of_work_keeps_no_slot_from_the_other(bus_url: str, tmp_path: Path) -> None:
    """A runner with one slot takes scripts at once though it would take notebooks too."""
    async with system(bus_url, tmp_path, sandbox="process", slots=1) as fast:
        await fast.pipeline("quick", "print(1)")
        for _ in range(3):
            run = await fast.end(await fast.start("quick"), within_s=10)
            assert run.status is RunStatus.SUCCESS
