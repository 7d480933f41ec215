"""Reads and writes that many tasks ask for at once: few requests, and each is answered as if it was alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus, Put
from fastflow_contracts.bus.errors import RevisionConflict, TooLarge, Unavailable
from fastflow_contracts.bus.feed import once
from fastflow_contracts.bus.streams import PAYLOAD_BYTES_MAX, bucket_stream
from fastflow_contracts.bus.subjects import INPUTS, PIPELINES, RUNS, SCHEDULES
from fastflow_contracts.bus.together import GROUP_BYTES_MAX, GROUP_MAX, REQUESTS_MAX, GroupCommit, GroupGet

COUNT = 1000


def a_put(number: int, *, value: bytes = b"{}", expect: int | None = 0) -> Put:
    return Put(f"run.p{number}.r", value, expect)


async def put_all(group: GroupCommit, puts: list[Put]) -> list[int | BaseException]:
    return await asyncio.gather(*(group.put(put) for put in puts), return_exceptions=True)


async def batches(bus: Bus) -> list[str | None]:
    """The batch of each stored run."""
    subject = f"$KV.{RUNS}.{subjects.RUN_KEYS}"
    return [
        each.header("Nats-Batch-Id") async for part in once(bus, bucket_stream(RUNS), subject) for each in part.messages
    ]


async def test_many_writes_at_once_are_few_requests_each_with_its_own_revision(bus: Bus) -> None:
    """A revision that a caller got is the one that its next write replaces."""
    group = GroupCommit(bus, RUNS)
    puts = [a_put(number, value=str(number).encode()) for number in range(COUNT)]
    revisions = await put_all(group, puts)
    for put, revision in list(zip(puts, revisions, strict=True))[::97]:
        stored = await bus.get(RUNS, put.key)
        assert stored is not None
        assert (stored.value, stored.revision) == (put.value, revision)
    assert len(set(await batches(bus))) <= COUNT / GROUP_MAX + 1 + REQUESTS_MAX


async def test_a_lone_write_is_an_ordinary_one(bus: Bus) -> None:
    """It needs no batch, so it works on every stream."""
    await GroupCommit(bus, RUNS).put(a_put(1))
    assert await batches(bus) == [None]


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("stale", [{0}, {5, 6, 99}, set(range(100)), set(range(0, 100, 3))])
async def test_only_the_write_that_another_writer_preceded_fails(bus: Bus, stale: set[int], *, reads: bool) -> None:
    """One that must not exist and does, among those that are new; with and without the permission to look."""
    for number in stale:
        await bus.put(RUNS, a_put(number).key, b"theirs")
    results = await put_all(GroupCommit(bus, RUNS, reads=reads), [a_put(number) for number in range(100)])
    assert {number for number, result in enumerate(results) if isinstance(result, RevisionConflict)} == stale
    assert {number for number, result in enumerate(results) if isinstance(result, int)} == set(range(100)) - stale
    for number in range(100):
        stored = await bus.get(RUNS, a_put(number).key)
        assert stored is not None
        assert stored.value == (b"theirs" if number in stale else b"{}")


async def test_replaced_and_deleted_values_are_compared_with_what_is_expected(bus: Bus) -> None:
    """A deleted key has a revision, which a write must expect as any other."""
    first, second = await bus.put(RUNS, "run.a.r", b"1"), await bus.put(RUNS, "run.b.r", b"1")
    await bus.delete(RUNS, "run.b.r", expect=second)
    puts = [
        Put("run.new.r", b"2", 0),
        Put("run.a.r", b"2", first),
        Put("run.b.r", b"2", second),
        Put("run.any.r", b"2", None),
    ]
    new, replaced, outdated, unchecked = await put_all(GroupCommit(bus, RUNS), puts)
    assert isinstance(new, int)
    assert isinstance(replaced, int)
    assert isinstance(outdated, RevisionConflict)
    assert isinstance(unchecked, int)


async def test_two_writes_of_one_key_never_share_a_request(bus: Bus) -> None:
    """One of them wins, as it would alone."""
    results = await put_all(GroupCommit(bus, RUNS), [a_put(number % 10) for number in range(50)])
    assert sum(isinstance(result, int) for result in results) == 10
    assert sum(isinstance(result, RevisionConflict) for result in results) == 40


async def test_a_value_that_is_too_large_fails_alone(bus: Bus) -> None:
    """The others of its request are stored."""
    puts = [a_put(number) for number in range(20)]
    puts[7] = puts[7]._replace(value=b"x" * PAYLOAD_BYTES_MAX)
    results = await put_all(GroupCommit(bus, RUNS), puts)
    assert [number for number, result in enumerate(results) if isinstance(result, TooLarge)] == [7]
    assert sum(isinstance(result, int) for result in results) == 19


async def test_large_values_do_not_wait_in_one_huge_request(bus: Bus) -> None:
    """A request takes no more than its bound, and one value at least."""
    value = b"x" * (GROUP_BYTES_MAX // 2 + 1)
    results = await put_all(GroupCommit(bus, RUNS), [a_put(number, value=value) for number in range(9)])
    assert all(isinstance(result, int) for result in results)
    found = await batches(bus)
    assert max(found.count(batch) for batch in found if batch) <= 2


async def test_a_stream_of_an_older_version_takes_the_writes_one_by_one(bus: Bus) -> None:
    """Until `fastflow bus ensure` allows batches."""
    (wanted,) = (stream for stream in streams.STREAMS if stream.name == bucket_stream(SCHEDULES))
    await bus.js.delete_stream(bucket_stream(SCHEDULES))
    await bus.js.add_stream(replace(wanted, allow_atomic=None))
    group = GroupCommit(bus, SCHEDULES)
    puts = [Put(f"sched.p{number}.x", b"{}", 0) for number in range(30)]
    assert all(isinstance(result, int) for result in await put_all(group, puts))
    assert all(isinstance(result, RevisionConflict) for result in await put_all(group, puts))
    await streams.ensure(bus.js)
    config = (await bus.js.stream_info(bucket_stream(SCHEDULES))).config
    assert config.allow_atomic


async def test_cancelled_tasks_take_nothing_from_the_others(bus: Bus) -> None:
    """The others get their answers, or hear that the outcome is unknown and ask again."""
    group = GroupCommit(bus, INPUTS, reads=False)
    tasks = [asyncio.create_task(group.put(Put(f"input.p{number}.r", b"{}", None))) for number in range(300)]
    await asyncio.sleep(0)
    for task in tasks[1::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, int) for result in results[::2])
    assert all(isinstance(result, asyncio.CancelledError) for result in results[1::2])
    assert isinstance(await group.put(Put("input.last.r", b"{}", 0)), int)


async def test_many_reads_at_once_find_what_single_reads_find(bus: Bus) -> None:
    """Values, missing and deleted ones, the same key twice, and more than fits into one answer."""
    keys = [f"pipeline.p{number}" for number in range(300)]
    value = b"x" * 200_000  # 250 of them are 50 MB
    for key in keys[:250]:
        await bus.put(PIPELINES, key, value)
    await bus.delete(PIPELINES, keys[3])
    group = GroupGet(bus, PIPELINES)
    wanted = [*keys, keys[0]]
    found = await asyncio.gather(*map(group.get, wanted))
    for key, entry in zip(wanted, found, strict=True):
        alone = await bus.get(PIPELINES, key)
        assert entry == alone
    assert [entry is None for entry in found[:250]] == [number == 3 for number in range(250)]
    assert found[250:300] == [None] * 50


@pytest.mark.parametrize("others", [1, 2, GROUP_MAX + 1])
async def test_a_task_that_is_cancelled_when_its_turn_comes_passes_it_on(bus: Bus, others: int) -> None:
    """No turn is lost: those that wait behind it, and later ones, are answered."""
    group = GroupCommit(bus, INPUTS, reads=False)
    turns = [asyncio.create_task(group.put(Put(f"input.t{number}.r", b"{}", None))) for number in range(REQUESTS_MAX)]
    await asyncio.sleep(0)
    victims = [asyncio.create_task(group.put(Put(f"input.v{number}.r", b"{}", None))) for number in range(REQUESTS_MAX)]
    await asyncio.sleep(0)
    behind = [asyncio.create_task(group.put(Put(f"input.b{number}.r", b"{}", None))) for number in range(others)]
    for turn, victim in zip(turns, victims, strict=True):
        turn.add_done_callback(lambda _, victim=victim: victim.cancel())
    async with asyncio.timeout(60):
        results = await asyncio.gather(*turns, *behind, return_exceptions=True)
        gone = await asyncio.gather(*victims, return_exceptions=True)
        later = [await group.put(Put(f"input.l{number}.r", b"{}", 0)) for number in range(REQUESTS_MAX + 1)]
    # One behind may have been in a victim's request: then its outcome is unknown, and it asks again.
    assert not [each for each in results if not isinstance(each, int | Unavailable)]
    assert all(isinstance(each, asyncio.CancelledError | int) for each in gone)
    assert all(isinstance(each, int) for each in later)
