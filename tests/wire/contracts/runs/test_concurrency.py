"""The size of the sets behind limits, on a real bus."""

from __future__ import annotations

import pytest

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.runs.concurrency import ConcurrencyLimit, Full, is_not_over
from fastflow_contracts.runs.limits import CROWD, LIMIT, LOOKS, LimitSet, Member
from fastflow_contracts.runs.run import RunRecord
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_contracts.runs.store import RunStore
from tests.support.records import a_run

KEY = "limit.instances.demo"
VAST = ConcurrencyLimit(key=KEY, most=1_000_000, is_active=is_not_over)


async def enter(bus: Bus, limit: ConcurrencyLimit = VAST) -> RunRecord:
    run = a_run()
    assert await RunStore(bus).create(run, None, limit=limit)
    return run


async def end(bus: Bus, *runs: RunRecord) -> None:
    for run in runs:
        await RunStore(bus).change(run.ref, Cancel())


async def members(bus: Bus) -> list[str]:
    entry = await bus.get(subjects.RUNS, KEY, is_exact=True)
    assert entry is not None
    return [member.run_id for member in LIMIT.decode(entry.value).members]


async def crowd(bus: Bus, *runs: RunRecord) -> None:
    """A set of *runs*, as if all had entered."""
    stored = LimitSet(most=VAST.most, members=tuple(Member(pipeline=run.pipeline, run_id=run.id) for run in runs))
    await bus.put(subjects.RUNS, KEY, LIMIT.encode(stored))


async def test_a_set_does_not_grow_with_the_runs_that_ended(bus: Bus) -> None:
    """With any limit. Active runs stay in the set, even the oldest."""
    active = [await enter(bus) for _ in range(3)]
    for _ in range(CROWD + 50):
        await end(bus, await enter(bus))
    assert len(await members(bus)) <= CROWD + 1
    assert {run.id for run in active} <= set(await members(bus))


async def test_a_set_that_grew_large_shrinks_again(bus: Bus) -> None:
    """By some members with every run that enters, until it is small."""
    active = [await enter(bus) for _ in range(3)]
    await crowd(bus, *active, *(a_run() for _ in range(CROWD)))
    before = len(await members(bus))
    active += [await enter(bus) for _ in range(LOOKS)]
    assert len(await members(bus)) < before
    assert {run.id for run in active} <= set(await members(bus))


async def test_a_large_set_of_active_runs_keeps_every_member(bus: Bus) -> None:
    """Each entry checks the next few members, at a constant cost."""
    runs = [a_run() for _ in range(CROWD)]
    for run in runs:
        assert await RunStore(bus).create(run, None)
    await crowd(bus, *runs)
    runs.append(await enter(bus))
    before = bus.client.stats["out_msgs"]
    runs.append(await enter(bus))
    assert bus.client.stats["out_msgs"] - before == 1 + LOOKS + 2  # the set, the members that are checked, the batch
    first, second, rest = runs[:LOOKS], runs[LOOKS : 2 * LOOKS], runs[2 * LOOKS : CROWD]
    assert await members(bus) == [run.id for run in (*rest, *first, runs[-2], *second, runs[-1])]


async def test_in_a_small_set_no_member_is_checked(bus: Bus) -> None:
    """One more run enters for the price of reading the set."""
    await crowd(bus, *(a_run() for _ in range(CROWD - 1)))
    before = bus.client.stats["out_msgs"]
    await enter(bus)
    assert bus.client.stats["out_msgs"] - before == 1 + 2
    assert len(await members(bus)) == CROWD


async def test_a_full_set_is_checked_whole(bus: Bus) -> None:
    """Of any size: only active runs keep others out."""
    room = VAST._replace(most=CROWD + 1)
    active = [await enter(bus, room) for _ in range(2)]
    await crowd(bus, *(a_run() for _ in range(CROWD - 1)), *active)
    active.append(await enter(bus, room))
    assert await members(bus) == [run.id for run in active]
    with pytest.raises(Full):
        await enter(bus, room._replace(most=3))
