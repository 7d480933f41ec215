"""What a trigger does when its stream loses messages, goes back, or stores them elsewhere."""

from __future__ import annotations

import asyncio
import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from nats.js.api import RetentionPolicy, StreamConfig, StreamSource, SubjectTransform

from fastflow.local.nats_server import embedded_bus
from fastflow_contracts.bus.access.accounts import STREAMS_ACCOUNT
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.permissions import ADMIN_INBOX
from fastflow_contracts.bus.streams import ensure
from fastflow_contracts.clock import now
from fastflow_contracts.pipelines.format.event_triggers import BatchSpec
from fastflow_scheduler.events.position import SEEN, Position
from tests.support.gateway import running_gateway, running_scheduler
from tests.support.records import T0
from tests.wire.scheduler.events.test_triggers import (
    REF,
    WAIT_S,
    cursor_of,
    deploy,
    events_of,
    make_stream,
    publish,
    schedulers,
    until_done,
    until_problem,
)

__all__ = ["schedulers"]


async def test_messages_that_a_stream_removed_during_downtime_are_reported(bus_url: str, bus: Bus) -> None:
    """On the cursor, in the API and on the page; the rest start their runs."""
    await make_stream(bus)
    await deploy(bus)
    async with connect(bus_url, name="s") as own, running_scheduler(own):
        await until_done(bus, await publish(bus, "read"))
    await bus.js.update_stream(StreamConfig(name="ORDERS", subjects=["orders.>", "other.>"], max_msgs=10))
    last = await publish(bus, *range(30))
    async with connect(bus_url, name="s") as own, running_scheduler(own), running_gateway(bus) as client:
        cursor = await until_done(bus, last)
        assert (cursor.removed, cursor.problem) == (20, "")
        async with asyncio.timeout(WAIT_S):
            while not (shown := (await client.get("/api/pipelines/demo")).json["triggers"][0])["removed_unread"]:
                await asyncio.sleep(0.1)
        assert shown["removed_unread"] == 20
        assert shown["removed_unread_at"]
        page = (await client.get("/pipelines/demo", headers={"Accept": "text/html"})).text
        assert "up to 20 messages before they were read" in " ".join(page.split())
    assert sorted(int(event or b"") for event in await events_of(bus) if event != b'"read"') == list(range(20, 30))


async def test_what_was_seen_and_then_removed_is_not_reported(bus: Bus) -> None:
    """Also messages of other subjects, for which the cursor does not move."""
    await make_stream(bus)
    await publish(bus, *range(20), subject="other.x")
    at = now()
    position = Position(bus, REF, "orders.>", since=T0, clock=lambda: at)
    assert not await position.look(read_to=0)
    await publish(bus, *range(20), subject="other.x")
    assert await position.look(read_to=0)
    await position.idle(held=0)
    await bus.js.purge_stream("ORDERS")
    at += 2 * SEEN
    assert await position.look(read_to=0)
    await position.idle(held=0)
    assert (position.cursor.removed, position.cursor.done) == (0, 0)
    position.forget()  # another scheduler goes on
    assert await position.look(read_to=0)
    assert position.cursor.removed == 0
    await publish(bus, *range(20), subject="other.x")
    await bus.js.purge_stream("ORDERS")
    assert await position.look(read_to=0)
    assert position.cursor.removed == 20


@pytest.mark.parametrize("count", [2, 6], ids=["few", "many"])
@pytest.mark.parametrize("how", ["each", "batch"])
@pytest.mark.slow
async def test_a_stream_that_went_back_is_read_on_from_the_time_of_its_last_message(
    tmp_path: Path, how: str, count: int
) -> None:
    """As after a restore or a power cut: new messages have the sequences of old ones, and start their runs."""
    folder, saved = tmp_path / "data", tmp_path / "saved"
    stored = folder / "bus/jetstream" / STREAMS_ACCOUNT / "streams/ORDERS"
    batch = {"batch": BatchSpec(max=2, within_seconds=0.1)} if how == "batch" else {}
    async with embedded_bus(folder, sync="2m") as url, connect(url, name="t", inbox=ADMIN_INBOX) as bus:
        await ensure(bus.js)
        await make_stream(bus)
        await deploy(bus, **batch)
        await publish(bus, "kept 1", "kept 2")
    shutil.copytree(stored, saved)
    async with embedded_bus(folder, sync="2m") as url, connect(url, name="t", inbox=ADMIN_INBOX) as bus:
        async with running_scheduler(bus):
            await until_done(bus, await publish(bus, "gone 3", "gone 4", "gone 5", "gone 6"))
        before = await events_of(bus)
    shutil.rmtree(stored)
    shutil.copytree(saved, stored)
    async with embedded_bus(folder, sync="2m") as url, connect(url, name="t", inbox=ADMIN_INBOX) as bus:
        new = [f"new {number}" for number in range(count)]
        assert await publish(bus, *new) == 2 + count
        async with running_scheduler(bus):
            await until_problem(bus, "the stream ORDERS went back")
            async with asyncio.timeout(WAIT_S):
                while len(b"".join(event or b"" for event in await events_of(bus)).split(b"new")) < 1 + count:
                    await asyncio.sleep(0.1)
        known = await cursor_of(bus)
        assert known is not None
        assert (known.value.done, known.value.problem) == (2 + count, "")
        lines = sorted(b"\n".join(event or b"" for event in await events_of(bus)).split())
    added = json.dumps(new).strip("[]").replace(",", "").encode()
    assert lines == sorted(b"\n".join([*(event or b"" for event in before), added]).split())


async def test_a_stream_that_renames_its_messages_is_a_problem_and_a_copy_of_it_works(schedulers: Bus) -> None:
    """So it is with one whose messages go to the first taker."""
    bus = schedulers
    renamed = SubjectTransform(src="orders.>", dest="stored.>")
    await bus.js.add_stream(StreamConfig(name="ORDERS", subjects=["orders.>"], subject_transform=renamed))
    await deploy(bus)
    await until_problem(bus, "stores orders.> as stored.>")
    await bus.js.add_stream(StreamConfig(name="WORK", subjects=["work.>"], retention=RetentionPolicy.WORK_QUEUE))
    copied = StreamSource(name="WORK", subject_transforms=[SubjectTransform(src="work.>", dest="copy.work.>")])
    await bus.js.add_stream(StreamConfig(name="COPY", subjects=["copy.work.>"], sources=[copied]))
    await deploy(bus, name="copied", id="all", subject="copy.work.*")
    await publish(bus, "job", subject="work.new")
    await until_done(bus, 1, of=("copied", "all"))
    assert await events_of(bus, "copied") == [b'"job"']


@pytest.mark.slow
async def test_a_subject_that_moves_to_another_stream_is_followed_there(schedulers: Bus) -> None:
    bus = schedulers
    await make_stream(bus)
    await deploy(bus)
    await until_done(bus, await publish(bus, "here"))
    await bus.js.update_stream(StreamConfig(name="ORDERS", subjects=["other.>"]))
    await until_problem(bus, "no stream of the bus stores orders.>")
    await bus.js.add_stream(StreamConfig(name="NEW", subjects=["orders.>"]))
    await publish(bus, "there")
    async with asyncio.timeout(WAIT_S):
        while len(await events_of(bus)) < 2:
            await asyncio.sleep(0.1)
    known = await cursor_of(bus)
    assert known is not None
    assert (known.value.stream, known.value.problem) == ("NEW", "")


@pytest.mark.parametrize("how", ["disabled and enabled", "removed and deployed again"])
async def test_a_trigger_that_comes_back_begins_with_what_arrives_then(schedulers: Bus, how: str) -> None:
    bus = schedulers
    await make_stream(bus)
    await deploy(bus)
    await until_done(bus, await publish(bus, "before"))
    if how.startswith("disabled"):
        await deploy(bus, enabled=False)
    else:
        await deploy(bus, id="other", subject="other.>")
    async with asyncio.timeout(WAIT_S):
        while await cursor_of(bus) is not None:
            await asyncio.sleep(0.1)
    sequence = await publish(bus, "meanwhile")
    stored = await bus.js.get_msg("ORDERS", seq=sequence)
    assert stored.time is not None
    await deploy(bus, since=stored.time + timedelta(microseconds=1))
    await until_done(bus, await publish(bus, "after"))
    assert sorted(event or b"" for event in await events_of(bus)) == [b'"after"', b'"before"']


@pytest.mark.slow
async def test_a_message_that_is_removed_while_it_waits_for_quiet_is_noted(schedulers: Bus) -> None:
    """It starts no run: nobody has it any more."""
    bus = schedulers
    await make_stream(bus)
    await deploy(bus, debounce_seconds=10.0, key="event")
    first = await publish(bus, "a")
    last = await publish(bus, "b")
    async with asyncio.timeout(WAIT_S):
        while (cursor := await cursor_of(bus)) is None or cursor.value.waiting != 2:
            await asyncio.sleep(0.1)
    await bus.js.delete_msg("ORDERS", first)
    done = await until_done(bus, last)
    assert done.removed == 1
    assert await events_of(bus) == [b'"b"']
