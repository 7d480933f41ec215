"""How long a chain gets, on a real bus with two schedulers."""

from __future__ import annotations

from collections import Counter

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.runs.limits import CHAIN_COUNT
from fastflow_contracts.runs.run import RunRecord, RunStatus
from fastflow_contracts.runs.state_machine import AttemptOutcome
from fastflow_contracts.runs.store import RunStore
from tests.support.chains import (
    CODE,
    a_runner,
    all_skips,
    diamond,
    failure,
    schedulers,
    started,
    success,
    to,
    until_quiet,
)
from tests.support.records import publish_pipeline


async def test_a_branching_cycle_stops_at_the_number_of_runs_of_its_whole_chain(bus_url: str, bus: Bus) -> None:
    """Exact with two schedulers. Each refused start names the limit, the setting and the first run."""
    await diamond(bus)
    async with schedulers(bus_url, bus, chain_runs_max=60) as fast, a_runner(bus):
        first = await started(fast, "a")
        runs = await until_quiet(bus, first.id)
    assert len(runs) == 60
    entry = await bus.get(subjects.RUNS, subjects.chain_key(first.id))
    assert entry is not None
    assert CHAIN_COUNT.decode(entry.value).runs == 60
    skips = await all_skips(bus)
    edges = sum(2 if run.pipeline == "a" else 1 for run in runs)
    assert len(skips) == edges - 59, "each edge started a run or left an entry"
    for skip in skips:
        assert "it has had 60 runs" in skip.reason
        assert "FASTFLOW_CHAIN_RUNS_MAX" in skip.reason
        assert first.id in skip.reason
        assert skip.triggered_by == "downstream"


async def test_two_chains_of_the_same_pipelines_count_for_themselves(bus_url: str, bus: Bus) -> None:
    """One that is full takes nothing from the next."""
    await diamond(bus, max_instances=50)
    async with schedulers(bus_url, bus, chain_runs_max=10) as fast, a_runner(bus):
        first = await started(fast, "a")
        assert len(await until_quiet(bus, first.id)) == 10
        second = await started(fast, "a")
        assert len(await until_quiet(bus, second.id)) == 10


async def test_the_depth_of_a_chain_is_a_setting(bus_url: str, bus: Bus) -> None:
    """The entry names it."""
    await publish_pipeline(bus, "a", CODE, downstream_triggers=(to("a"),))
    async with schedulers(bus_url, bus, chain_depth_max=3) as fast, a_runner(bus):
        first = await started(fast, "a")
        runs = await until_quiet(bus, first.id)
    assert sorted(run.order.hops for run in runs) == [0, 1, 2, 3]
    (skip,) = await all_skips(bus)
    assert "3 starts one after the other" in skip.reason
    assert "FASTFLOW_CHAIN_DEPTH_MAX" in skip.reason


async def test_a_daemon_restarts_beyond_the_limits_of_chains_and_knows_its_crash(bus_url: str, bus: Bus) -> None:
    """Each restart is its own chain: its alerts are not refused after many crashes either."""
    links = (to("alert", on_success=False, on_failure=True),)
    await publish_pipeline(bus, "d", CODE, downstream_triggers=links, restart_on_crash=True, restart_cooldown=0.0)
    await publish_pipeline(bus, "alert", CODE)

    def outcomes(run: RunRecord) -> AttemptOutcome:
        crashes[run.pipeline] += 1
        return failure(run) if run.pipeline == "d" and crashes["d"] < 8 else success(run)

    crashes: Counter[str] = Counter()
    async with schedulers(bus_url, bus, chain_runs_max=2, chain_depth_max=1) as fast, a_runner(bus, outcomes):
        first = await started(fast, "d", event=b"the first event")
        await until_quiet(bus, first.id)
        runs = [each.value for each in await RunStore(bus).records.items()]
    assert Counter(run.pipeline for run in runs) == {"d": 8, "alert": 7}
    assert await all_skips(bus) == []
    for run in runs:
        if run.order.triggered_by == "daemon_restart":
            given = await RunStore(bus).input(run)
            assert given.parent is not None
            assert (given.parent.run_id, given.parent.status) == (run.order.parent_run_id, RunStatus.FAILED)
            assert (run.root_run_id, given.event) == (run.id, b"the first event")
