"""New versions that fail are rolled back, on a real bus with schedulers; the test plays the runner."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.errors import RevisionConflict, Unavailable
from fastflow_contracts.clock import now
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.runs.run import RunErrorType, RunRecord
from fastflow_contracts.runs.state_machine import AttemptOutcome, Claim, Finish
from fastflow_contracts.runs.store import RunStore
from fastflow_scheduler.followups.trials import Trials
from tests.support.chains import all_skips
from tests.support.records import a_bundle, a_run, list_version, publish_pipeline
from tests.support.system import System
from tests.wire.scheduler.followups.test_rules import fast, finish, started

__all__ = ["fast"]

DEMO = PipelineName("demo")
OLD, NEW = a_bundle(main_py="print(1)"), a_bundle(main_py="fail")


async def deploy(bus: Bus, *, after: int = 2, **spec: object) -> None:
    """Deploy a good version, then one with ``rollback_after``."""
    await list_version(bus, "demo", OLD)
    await list_version(bus, "demo", NEW, before=OLD.sha256, deployed=1, rollback_after=after)
    await publish_pipeline(bus, "demo", NEW, rollback_after=after, **spec)


async def record_of(bus: Bus) -> PipelineRecord:
    stored = await PipelineStore(bus).records.get(DEMO, is_exact=True)
    assert stored is not None
    return stored.value


async def until_live(bus: Bus, bundle: str) -> PipelineRecord:
    async with asyncio.timeout(30):
        async for batch in PipelineStore(bus).records.follow():
            for change in batch.changes:
                if change.value is not None and change.value.live is not None and change.value.live.bundle == bundle:
                    return change.value
    raise AssertionError("a feed has no end")


async def failed(bus: Bus, run: RunRecord | None = None) -> RunRecord:
    """A run of the new version that has failed."""
    store = RunStore(bus)
    run = run or a_run("demo", bundle=NEW.sha256)
    await store.create(run, None)
    held = (await store.change(run.ref, Claim(attempt=1, runner="r"))).run
    outcome = AttemptOutcome(finished_at=now(), exit_code=1, error_type=RunErrorType.SCRIPT_ERROR)
    return (await store.change(run.ref, Finish(epoch=held.epoch, outcome=outcome))).run


async def test_a_version_whose_first_runs_fail_is_rolled_back(fast: System) -> None:
    """Two schedulers see each end; the runs that start then have the version before it."""
    await deploy(fast.bus)
    runs = [await started(fast, "demo") for _ in range(3)]
    assert {run.order.bundle for run in runs} == {NEW.sha256}
    for run in runs[:2]:
        await finish(fast, run, well=False)
    record = await until_live(fast.bus, OLD.sha256)
    assert record.rolled_back is not None
    assert record.live is not None
    assert record.live.spec.rollback_after is None
    assert (record.rolled_back.bundle, record.rolled_back.to, record.rolled_back.failures) == (
        NEW.sha256,
        OLD.sha256,
        2,
    )
    assert (record.held_back, record.trial) == (NEW.sha256, None)
    assert (await started(fast, "demo")).order.bundle == OLD.sha256


async def test_a_daemon_restarts_on_the_version_before(fast: System) -> None:
    """The failure that rolls back is handled before the restart that follows from it."""
    await deploy(fast.bus, after=1, restart_on_crash=True, restart_cooldown=0.0)
    run = await started(fast, "demo")
    await finish(fast, run, well=False)
    await until_live(fast.bus, OLD.sha256)
    found = [each for each in await RunStore(fast.bus).all_of(DEMO) if each.id != run.id]
    assert all(each.order.bundle == OLD.sha256 for each in found)


async def test_three_schedulers_count_each_run_once(bus_url: str, bus: Bus) -> None:
    """Every one handles every end twice, all at the same time; one failure short of the bound changes nothing."""
    await deploy(bus, after=5)
    runs = [await failed(bus) for _ in range(5)]
    async with connect(bus_url, name="a") as a, connect(bus_url, name="b") as b, connect(bus_url, name="c") as c:
        trials = [Trials(each) for each in (a, b, c)]
        known = await record_of(bus)

        async def handle(one: Trials, run: RunRecord) -> None:
            while True:  # as the consumer does: a message comes again after a lost compare-and-set
                with contextlib.suppress(RevisionConflict):
                    return await one.ended(run, known)

        await asyncio.gather(*(handle(one, run) for one in trials * 2 for run in runs[:4]))
        record = await record_of(bus)
        assert record.trial is not None
        assert sorted(record.trial.failed) == sorted(run.id for run in runs[:4])
        assert record.live is not None
        assert record.live.bundle == NEW.sha256
        await asyncio.gather(*(handle(one, runs[4]) for one in trials * 2))
    record = await record_of(bus)
    assert record.live is not None
    assert record.rolled_back is not None
    assert (record.live.bundle, record.rolled_back.failures) == (OLD.sha256, 5)


@pytest.mark.parametrize("is_stored", [False, True], ids=["before the write", "after the write"])
async def test_a_scheduler_that_is_killed_at_a_step_loses_nothing(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, is_stored: bool
) -> None:
    """The end comes again, to another one, and is counted once."""
    await deploy(bus)
    first, second = await failed(bus), await failed(bus)
    for run in (first, second):
        known, killed = await record_of(bus), Trials(bus)
        put = killed._pipelines.records.put

        async def dies(*args: object, **options: object) -> int:
            if is_stored:
                await put(*args, **options)  # type: ignore[arg-type]  # noqa: B023 - it runs in this round
            raise Unavailable("killed")

        monkeypatch.setattr(killed._pipelines.records, "put", dies)
        with pytest.raises(Unavailable):
            await killed.ended(run, known)
        await Trials(bus).ended(run, known)
        await Trials(bus).ended(run, await record_of(bus))
    record = await record_of(bus)
    assert record.live is not None
    assert record.rolled_back is not None
    assert (record.live.bundle, record.rolled_back.failures) == (OLD.sha256, 2)


async def test_without_a_version_before_it_stays_live(bus: Bus) -> None:
    """The record says that it failed, which the page shows."""
    await list_version(bus, "demo", NEW, rollback_after=1)
    await publish_pipeline(bus, "demo", NEW, rollback_after=1)
    run = await failed(bus)
    await Trials(bus).ended(run, await record_of(bus))
    record = await record_of(bus)
    assert record.live is not None
    assert record.trial is not None
    assert (record.live.bundle, record.trial.failed, record.rolled_back) == (NEW.sha256, (run.id,), None)


async def test_a_run_of_a_chosen_version_runs_that_version(fast: System) -> None:
    """Code, configuration and interpreter are that version's; whether it may start is today's decision."""
    await deploy(fast.bus, max_instances=2)
    run = await started(fast, "demo", version=OLD.sha256[:12])
    assert run.order.bundle == OLD.sha256
    assert (await started(fast, "demo", version=OLD.sha256)).order.bundle == OLD.sha256
    third = await fast.start("demo")
    fourth = await fast.start("demo", version="0" * 12)
    async with asyncio.timeout(60):
        while len(await all_skips(fast.bus)) < 2:  # both are refused before there is room
            await asyncio.sleep(0.05)
    await finish(fast, run, well=False)
    fifth = await started(fast, "demo")
    assert fifth.order.bundle == NEW.sha256
    assert {run.id for run in await RunStore(fast.bus).all_of(DEMO)}.isdisjoint({third.run_id, fourth.run_id})
