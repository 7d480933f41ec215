"""Hundreds of waiting runs of one pipeline: what another pipeline's run waits for, and how many hints there are."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.errors import Rejected
from fastflow_contracts.clock import now
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.messages import Skipped, Started
from fastflow_contracts.runs.presence import PRESENCE
from fastflow_contracts.runs.run import Running, RunRecord, RunStatus
from fastflow_contracts.runs.store import RunStore
from fastflow_contracts.starting.hint_queue import AHEAD
from tests.support.chains import all_skips, schedulers, started, to
from tests.support.gateway import claim, finish, running_scheduler
from tests.support.records import a_bundle, a_presence, a_run, publish_pipeline
from tests.support.system import System, stored, system
from tests.wire.scheduler.test_scheduler import trigger

BOMB = PipelineName("bomb")
SCHEDULERS = 3
SLOTS = 2
WAITING = 500
SLOW = "import time; time.sleep(1.5)"


async def waiting_runs(there: System, count: int) -> list[RunRecord]:
    """Start *count* runs of the bomb, and return them when all exist."""
    for _ in range(count):
        await there.start(BOMB)
    while len(runs := await RunStore(there.bus).all_of(BOMB)) < count:
        await asyncio.sleep(0.2)
    return runs


@pytest.mark.slow
async def test_a_run_beside_five_hundred_waiting_ones_starts_after_a_few_of_them(
    bus_url: str, bus: Bus, tmp_path: Path
) -> None:
    """Pipelines take turns: with three schedulers and two runners, slow scripts, and every slot taken."""
    async with system(bus_url, tmp_path, sandbox="process", runners=SLOTS, schedulers=SCHEDULERS, slots=1) as there:
        await there.pipeline(BOMB, SLOW)
        await there.pipeline("modest", "print(1)")
        await waiting_runs(there, WAITING)
        modest = await there.end(await there.start("modest"))
        bombs = [run for run in await RunStore(bus).all_of(BOMB) if run.attempts or isinstance(run.state, Running)]
    assert modest.status is RunStatus.SUCCESS
    claimed = [run.state.claimed_at if isinstance(run.state, Running) else run.attempts[0].claimed_at for run in bombs]
    before = [at for at in claimed if modest.created_at < at < modest.attempts[0].claimed_at]
    assert len(before) <= SCHEDULERS * AHEAD + SLOTS
    assert len(bombs) < WAITING / 2  # or nothing was waiting


async def announce(bus: Bus, *, slots: int) -> None:
    """Renew the presence of a runner with free slots, again and again."""
    while True:
        presence = msgspec.structs.replace(a_presence("idle", slots=slots), seen_at=now())
        await bus.put(subjects.RUNNERS, subjects.runner_key("idle"), PRESENCE.encode(presence))
        await asyncio.sleep(2)


@pytest.mark.slow
async def test_three_schedulers_do_not_multiply_the_hints_of_three_hundred_waiting_runs(bus_url: str, bus: Bus) -> None:
    """A runner that has room and takes nothing: its hints stay outstanding, and nobody repeats them."""
    slots = 10
    await publish_pipeline(bus, BOMB, a_bundle(main_py="1"))
    async with (
        connect(bus_url, name="third") as third,
        schedulers(bus_url, bus),
        running_scheduler(third),
        asyncio.TaskGroup() as group,
    ):
        announcing = group.create_task(announce(bus, slots=slots))
        await asyncio.gather(*(trigger(bus, b"", pipeline=BOMB) for _ in range(300)))
        await asyncio.sleep(35)  # three times as long as a hint is waited for
        state = (await bus.js.stream_info(streams.WORK, subjects_filter=subjects.WORK)).state
        announcing.cancel()
    assert state.subjects is not None
    assert set(state.subjects.values()) == {1}
    assert slots + AHEAD <= state.messages <= SCHEDULERS * (slots + AHEAD)
    assert state.last_seq == state.messages  # none came and went


async def test_a_slot_does_not_stay_empty_behind_hints_of_cancelled_runs(
    bus_url: str, bus: Bus, tmp_path: Path
) -> None:
    """Three hundred runs are cancelled while they wait; the one that remains begins next."""
    async with system(bus_url, tmp_path, sandbox="process", schedulers=SCHEDULERS, slots=1) as there:
        await there.pipeline("blocker", "import time; time.sleep(600)")
        await there.pipeline(BOMB, "print(1)")
        blocker = await there.start("blocker")
        await there.until(blocker, lambda run: isinstance(run.state, Running))
        runs = await waiting_runs(there, 300)
        last = await there.start(BOMB)
        for ref in [*(run.ref for run in runs), blocker]:
            await bus.publish(subjects.command(ref), b"{}")
        assert (await there.end(last)).status is RunStatus.SUCCESS
        published = (await bus.js.stream_info(streams.WORK)).state.last_seq
    # Hints follow the pace at which runners take them, so how many come before the last cancel depends on the machine.
    assert published < len(runs), "every run that was cancelled while it waited had a hint"


async def test_the_bus_keeps_one_hint_for_an_attempt(bus: Bus) -> None:
    """The second one is refused until the first is acknowledged."""
    subject = subjects.work("script", a_run(BOMB).ref, 1)
    await bus.publish(subject, b"1")
    with pytest.raises(Rejected, match="maximum messages per subject"):
        await bus.publish(subject, b"2")


async def test_a_start_beyond_the_ceiling_for_waiting_runs_of_a_pipeline_is_refused_and_kept(
    bus_url: str, bus: Bus
) -> None:
    """The reason names the setting. Another pipeline starts."""
    await publish_pipeline(bus, BOMB, a_bundle(main_py="1"))
    await publish_pipeline(bus, "modest", a_bundle(main_py="1"))
    async with schedulers(bus_url, bus, waiting_runs_max=3):
        answers = [await trigger(bus, b"", pipeline=BOMB) for _ in range(20)]
        assert isinstance(await trigger(bus, b"", pipeline="modest"), Started)
    refused = [answer for answer in answers if isinstance(answer, Skipped)]
    assert 20 - 3 - 1 <= len(refused) <= 20 - 3  # the other scheduler may learn of the third run too late
    assert {answer.status for answer in refused} == {429}
    assert "FASTFLOW_WAITING_RUNS_MAX" in refused[0].reason
    assert len(await stored(bus, streams.NOTICES, f"ff.dead.trigger.{BOMB}.*")) == len(refused)


async def test_a_start_beyond_the_ceiling_for_waiting_runs_of_a_chain_is_refused_and_kept(
    bus_url: str, bus: Bus
) -> None:
    """One run that starts eight others, of which five may wait."""
    names = [f"next-{number}" for number in range(8)]
    for name in names:
        await publish_pipeline(bus, name, a_bundle(main_py="1"))
    await publish_pipeline(bus, BOMB, a_bundle(main_py="1"), downstream_triggers=tuple(to(name) for name in names))
    async with schedulers(bus_url, bus, chain_waiting_runs_max=5) as fast:
        first = await started(fast, BOMB)
        await finish(bus, await claim(bus, first))
        while len(skips := await all_skips(bus)) < 3:
            await asyncio.sleep(0.05)
    assert len(skips) == 3
    assert all("FASTFLOW_CHAIN_WAITING_RUNS_MAX" in skip.reason and first.id in skip.reason for skip in skips)
