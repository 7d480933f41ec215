"""Which runs are removed before their bucket is full, on a real bus."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.errors import Rejected
from fastflow_contracts.bus.feed import once
from fastflow_contracts.bus.subjects import instances_key
from fastflow_contracts.clock import now
from fastflow_contracts.runs.concurrency import ChainLimit
from fastflow_contracts.runs.limits import CHAIN_COUNT
from fastflow_contracts.runs.room import FULL_PERCENT, Room
from fastflow_contracts.runs.run import RUN, RUN_INPUT, RunInput, RunRecord
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_contracts.runs.store import NoSuchRun, RunStore
from fastflow_scheduler.followups.run_ended_consumer import RunEndedConsumer
from fastflow_scheduler.maintenance import retention as rules
from fastflow_scheduler.maintenance.retention import KEEP, Retention
from tests.support.gateway import running_gateway, running_scheduler
from tests.support.records import a_run

STREAM = streams.bucket_stream(subjects.RUNS)
BYTES_MAX = 300_000
HIGH = FULL_PERCENT / 100 - rules.HIGH
LOW = FULL_PERCENT / 100 - rules.LOW
BATCH = 3
GIVEN = RunInput(overrides={"A": "x" * 1000})
FULL = 10077


def later() -> datetime:
    """Return a time long after the end of every run so far."""
    return now() + KEEP + timedelta(minutes=1)


def retention(bus: Bus) -> Retention:
    return Retention(bus, Room(bus), batch=BATCH, clock=later)


@pytest_asyncio.fixture(autouse=True)
async def small(bus: Bus) -> None:
    """A bucket for about a hundred runs."""
    config = (await bus.stream(STREAM)).config
    await bus.js.update_stream(replace(config, max_bytes=BYTES_MAX))


async def create(bus: Bus, *, has_input: bool = True, **order: Any) -> RunRecord:
    run = a_run(has_input=has_input, **order)
    assert await RunStore(bus).create(run, GIVEN if has_input else None)
    return run


async def ended(bus: Bus, **order: Any) -> RunRecord:
    run = await create(bus, **order)
    return (await RunStore(bus).change(run.ref, Cancel())).run


async def fill(bus: Bus, *, until: float = HIGH, **order: Any) -> list[RunRecord]:
    """Create runs that are over, until the bucket is *until* full."""
    runs = []
    while await fullness(bus) < until:
        runs.append(await ended(bus, **order))
    return runs


async def fullness(bus: Bus) -> float:
    return (await bus.stream(STREAM)).state.bytes / BYTES_MAX


async def followed(bus: Bus) -> None:
    """Handle all changes so far."""
    async with asyncio.TaskGroup() as group:
        reactor = group.create_task(RunEndedConsumer(bus, RunStore(bus), None).serve())  # type: ignore[arg-type]
        while True:
            info = await bus.js.consumer_info(STREAM, streams.SCHEDULER)
            if not info.num_pending and not info.num_ack_pending:
                break
        reactor.cancel()


async def ids(bus: Bus, keys: str = subjects.RUN_KEYS) -> list[str]:
    """Return the ids of the runs that have one of *keys*, by their last change."""
    found: dict[str, int] = {}
    async with aclosing(once(bus, STREAM, subjects.value_subject(subjects.RUNS, keys))) as batches:
        async for batch in batches:
            for message in batch.messages:
                if message.data:
                    found[message.subject.rpartition(".")[2]] = message.sequence
    return sorted(found, key=lambda run_id: found[run_id])


async def test_the_oldest_runs_that_are_over_are_removed_with_their_inputs(bus: Bus) -> None:
    """By their ends, until there is room again; active runs and limits stay."""
    waiting = await create(bus)
    limit = instances_key(waiting.pipeline)
    await bus.put(subjects.RUNS, limit, b"{}")
    late = await create(bus)
    runs = await fill(bus)
    await RunStore(bus).change(late.ref, Cancel())
    await followed(bus)
    assert await retention(bus).make_room()
    assert LOW - 0.05 < await fullness(bus) <= LOW
    kept = await ids(bus)
    gone = (len(runs) + 2) - len(kept)
    assert gone % BATCH == 0
    assert kept == [waiting.id, *(run.id for run in runs[gone:]), late.id]
    assert set(await inputs(bus)) == set(kept)
    assert await RunStore(bus).input(waiting) == GIVEN
    assert await bus.get(subjects.RUNS, limit) is not None
    with pytest.raises(NoSuchRun):
        await RunStore(bus).load(runs[0].ref)


async def test_the_count_of_a_chain_goes_with_its_last_run(bus: Bus) -> None:
    """Not before: a chain that is still going keeps its count."""
    done, going = a_run(), a_run()
    for root in (done, going):
        run = a_run(triggered_by="downstream", root_run_id=root.id)
        assert await RunStore(bus).create(run, None, limits=[ChainLimit(root.id, 10)])
        await RunStore(bus).change(run.ref, Cancel())
    await fill(bus)
    again = a_run(triggered_by="downstream", root_run_id=going.id)
    assert await RunStore(bus).create(again, None, limits=[ChainLimit(going.id, 10)])
    await followed(bus)
    assert await retention(bus).make_room()
    assert await bus.get(subjects.RUNS, subjects.chain_key(done.id)) is None
    kept = await bus.get(subjects.RUNS, subjects.chain_key(going.id))
    assert kept is not None
    assert CHAIN_COUNT.decode(kept.value).runs == 3


async def inputs(bus: Bus, bucket: str = subjects.INPUTS) -> list[str]:
    """Return the ids of all runs with a stored input."""
    stream = streams.bucket_stream(bucket)
    info = await bus.js.stream_info(stream, subjects_filter=subjects.value_subject(bucket, subjects.INPUT_KEYS))
    return [subject.rpartition(".")[2] for subject in info.state.subjects or {}]


async def test_a_bucket_that_is_not_full_is_left_alone(bus: Bus) -> None:
    """A check is one request for each bucket."""
    await fill(bus, until=HIGH - 0.02)
    await followed(bus)
    last, before = await ids(bus), bus.client.stats["out_msgs"]
    assert await retention(bus).make_room()
    assert bus.client.stats["out_msgs"] == before + 2
    assert await ids(bus) == last


async def test_room_is_made_in_a_full_bucket(bus: Bus) -> None:
    """Removing works even if no write is possible."""
    with pytest.raises(Rejected) as refused:
        await fill(bus, until=2)
    assert refused.value.code == FULL
    await followed(bus)
    assert await retention(bus).make_room()
    assert await fullness(bus) <= LOW
    await ended(bus)


async def test_a_run_that_ended_recently_stays(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    """Even in a full bucket; the log says what to do."""
    runs = await fill(bus)
    await followed(bus)
    assert not await Retention(bus, Room(bus), batch=BATCH).make_room()
    assert await ids(bus) == [run.id for run in runs]
    (told,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert told.getMessage() == "runs bucket nearly filled"
    assert "cancel runs that wait" in told.__dict__["advice"]


async def test_a_run_whose_end_was_not_handled_stays(bus: Bus) -> None:
    """Handling the end needs the input."""
    await fill(bus, until=0.05)
    await followed(bus)
    more = await fill(bus)
    assert await retention(bus).make_room()
    assert await ids(bus) == [run.id for run in more]
    assert set(await inputs(bus)) == {run.id for run in more}
    await fill(bus)
    assert not await retention(bus).make_room()


async def test_a_run_that_is_not_over_is_never_removed(bus: Bus) -> None:
    """Even if such runs fill the bucket, and at any age."""
    runs = []
    while await fullness(bus) < HIGH:
        runs.append(await create(bus))
    await followed(bus)
    assert not await retention(bus).make_room()
    assert await ids(bus) == [run.id for run in runs]


async def test_two_schedulers_at_once_remove_no_more_than_one(bus_url: str, bus: Bus) -> None:
    """Or hardly more: the second's batches are those of the first."""
    await fill(bus)
    await followed(bus)
    async with connect(bus_url, name="other") as other:
        assert all(await asyncio.gather(retention(bus).make_room(), retention(other).make_room()))
    assert LOW - 0.1 < await fullness(bus) <= LOW


async def test_a_run_that_was_created_again_stays(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """One scheduler removed it, its trigger was repeated, and another scheduler still refers to the former run of
    that id.
    """
    runs = await fill(bus)
    await followed(bus)
    again = msgspec.structs.replace(a_run(has_input=True), id=runs[0].id)
    purge = bus.js.purge_stream

    async def overtaken(name: str, seq: int | None = None, subject: str | None = None, keep: int | None = None) -> bool:
        monkeypatch.undo()
        for bucket, key in (
            (subjects.INPUTS, subjects.input_key(again.ref)),
            (subjects.RUNS, subjects.run_key(again.ref)),
        ):
            await purge(streams.bucket_stream(bucket), subject=subjects.value_subject(bucket, key))
        assert await RunStore(bus).create(again, GIVEN)
        return await purge(name, seq=seq, subject=subject, keep=keep)

    monkeypatch.setattr(bus.js, "purge_stream", overtaken)
    assert await retention(bus).make_room()
    assert not (await RunStore(bus).load(again.ref)).run.is_over
    assert await RunStore(bus).input(again) == GIVEN


async def test_a_run_that_was_removed_is_unknown(bus: Bus) -> None:
    """Like one that is gone by age."""
    runs = await fill(bus)
    await followed(bus)
    assert await retention(bus).make_room()
    async with running_gateway(bus) as gateway:
        assert (await gateway.get(f"/api/runs/{runs[0].id}")).status == 404
        assert (await gateway.get(f"/api/runs/{runs[-1].id}")).status == 200


async def test_a_scheduler_checks_the_bucket_regularly(bus_url: str, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it never fills up with runs that are over."""
    monkeypatch.setattr("fastflow_scheduler.maintenance.retention.ROUND_S", 0.05)
    monkeypatch.setattr("fastflow_scheduler.maintenance.retention.KEEP", timedelta())
    async with connect(bus_url, name="scheduler") as its_bus, running_scheduler(its_bus):
        for _ in range(2):
            await fill(bus)
            async with asyncio.timeout(20):
                while await fullness(bus) >= HIGH:
                    await asyncio.sleep(0.05)


async def test_inputs_that_fill_their_bucket_go_with_their_runs(bus: Bus) -> None:
    """The bucket of the runs has room meanwhile. An older version kept inputs there: those go, too."""
    stream = streams.bucket_stream(subjects.INPUTS)
    await bus.js.update_stream(replace((await bus.stream(stream)).config, max_bytes=20_000))
    former = await ended(bus, has_input=False)
    old = msgspec.structs.replace(a_run(has_input=True), state=former.state)
    await bus.put(subjects.RUNS, subjects.input_key(old.ref), RUN_INPUT.encode(GIVEN))
    await bus.put(subjects.RUNS, subjects.run_key(old.ref), RUN.encode(old))
    assert await RunStore(bus).input(old) == GIVEN
    runs = [await ended(bus) for _ in range(15)]
    assert await fullness(bus) < HIGH
    await followed(bus)
    assert await retention(bus).make_room()
    assert await Room(bus).fill() <= LOW
    assert await inputs(bus, subjects.RUNS) == []
    assert set(await inputs(bus)) < {run.id for run in runs}
    assert len(await ids(bus)) == len(await inputs(bus))
