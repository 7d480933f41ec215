"""Unreadable and absurd records of runs: they hold no place, they do not last for ever, and a command removes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from fastflow.local.unreadable import remove, unreadable_records
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.limits import LIMIT, LimitSet, Member
from fastflow_contracts.runs.presence import PRESENCE
from fastflow_contracts.runs.run import RUN, RunErrorType, Running, RunRecord
from fastflow_contracts.runs.store import RunStore
from fastflow_scheduler.app import serve
from fastflow_scheduler.settings import SchedulerSettings
from tests.support.gateway import running_gateway
from tests.support.ids import fresh_run_id
from tests.support.records import T0, a_bundle, a_presence, a_run, publish_pipeline
from tests.support.system import System

WITHIN_S = 120.0
NOBODY = ("", " ", "*", ">", "a.b", "x y", "=ZZ\n", "r" * 500, "ü", "\0")


@asynccontextmanager
async def scheduling(bus_url: str) -> AsyncIterator[None]:
    """A scheduler that takes runs of silent runners away soon."""
    stop, ready = asyncio.Event(), asyncio.Event()
    async with connect(bus_url, name="scheduler") as its_bus, asyncio.TaskGroup() as group:
        group.create_task(serve(SchedulerSettings(lease_s=1, fence_s=1), its_bus, stop, ready.set))
        await ready.wait()
        try:
            yield
        finally:
            stop.set()


@pytest.mark.slow
@pytest.mark.parametrize("runner", NOBODY)
async def test_a_run_held_by_a_runner_whose_name_is_none_is_taken_away(bus_url: str, bus: Bus, runner: str) -> None:
    """Like that of a runner that is gone: it ends as lost."""
    run = a_run()
    held = replace(run, state=Running(attempt=1, runner=runner, epoch=1, claimed_at=T0, prepared_at=T0), epoch=1)
    await bus.put(subjects.RUNS, subjects.run_key(run.ref), RUN.encode(held))
    async with scheduling(bus_url):
        ended = await System(bus).end(run.ref, within_s=WITHIN_S)
    assert ended.attempts[-1].error_type is RunErrorType.LOST


@pytest.mark.parametrize(
    "record", [b"\xff", b"{}", b'{"state":5}', b"", b"null", b"[" * 100_000, b"9" * 5_000], ids=range(7)
)
async def test_an_unreadable_run_holds_no_place_under_max_instances(bus_url: str, bus: Bus, record: bytes) -> None:
    """The pipeline starts although the only place is held by a run that nobody can read."""
    name, run_id = PipelineName("demo"), fresh_run_id()
    await publish_pipeline(bus, name, a_bundle(main_py="print(1)"), max_instances=1)
    lost = subjects.RunRef(name, run_id)
    await bus.put(subjects.RUNS, subjects.run_key(lost), record)
    members = (Member(pipeline=name, run_id=run_id),)
    await bus.put(subjects.RUNS, subjects.instances_key(name), LIMIT.encode(LimitSet(most=1, members=members)))
    async with scheduling(bus_url):
        started = await System(bus).start(name)
        assert not (await System(bus).until(started, lambda _: True, within_s=WITHIN_S)).is_over


@pytest.mark.parametrize("member", [{"pipeline": "x y", "run_id": "a b"}, {"pipeline": "demo", "run_id": ">"}])
async def test_a_set_with_members_that_cannot_be_is_built_again(bus_url: str, bus: Bus, member: dict[str, str]) -> None:
    """Nobody could look such a member up: it must not block the pipeline for ever."""
    name = PipelineName("demo")
    await publish_pipeline(bus, name, a_bundle(main_py="print(1)"), max_instances=1)
    bad = LIMIT.encode(LimitSet(most=1, members=(Member(**member),)))  # type: ignore[arg-type]
    await bus.put(subjects.RUNS, subjects.instances_key(name), bad)
    async with scheduling(bus_url):
        started = await System(bus).start(name)
        assert not (await System(bus).until(started, lambda _: True, within_s=WITHIN_S)).is_over


async def test_a_presence_of_the_year_9999_ends_no_scheduler(bus_url: str, bus: Bus) -> None:
    """Nor does a negative or endless lease: these are no presences."""
    for number, odd in enumerate(({"lease_s": 1e300}, {"lease_s": -1.0}, {"runner": "another"})):
        key = subjects.runner_key(f"r{number}")
        await bus.put(subjects.RUNNERS, key, PRESENCE.encode(replace(a_presence(f"r{number}"), **odd)))
    late = PRESENCE.encode(a_presence("r9")).replace(b'"seen_at":"2026', b'"seen_at":"9999')
    await bus.put(subjects.RUNNERS, subjects.runner_key("r9"), late)
    async with scheduling(bus_url):
        await publish_pipeline(bus, "demo", a_bundle(main_py="print(1)"))
        assert await System(bus).until(await System(bus).start("demo"), lambda _: True, within_s=WITHIN_S)
    assert {each.key for each in await unreadable_records(bus)} == {f"runner.r{n}" for n in (0, 1, 2, 9)}


async def test_unreadable_records_are_counted_and_removed_by_a_command(bus: Bus) -> None:
    """The gateway says how many there are; after the removal it says that all is well."""
    good: RunRecord = a_run()
    await bus.put(subjects.RUNS, subjects.run_key(good.ref), RUN.encode(good))
    keys = {subjects.run_key(a_run().ref), "run.=ZZ.none", "run.a.b.c"}
    for key in keys:
        await bus.put(subjects.RUNS, key, b"garbage")
    await bus.put(subjects.LINKS, "links.demo", b"[")
    async with running_gateway(bus) as client, asyncio.timeout(WITHIN_S):
        health = (await client.get("/readyz", anonymous=True)).json
        assert (health["status"], health["unreadable"]) == ("degraded", {"runs": 3, "links": 1})
        assert "4 stored records are unreadable" in (await client.get("/runners")).text
        found = await unreadable_records(bus)
        assert {each.key for each in found} == {*keys, "links.demo"}
        assert await remove(bus, found) == 4
        while (await client.get("/readyz", anonymous=True)).json["unreadable"]:
            await asyncio.sleep(0.05)
    assert await unreadable_records(bus) == []
    assert (await RunStore(bus).load(good.ref)).run == good
