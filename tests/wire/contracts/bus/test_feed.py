"""Feeds on a real bus: nothing missed, nothing twice, whatever others write and whatever is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import aclosing
from pathlib import Path
from typing import Final

import pytest

from fastflow.local.nats_server import embedded_bus
from fastflow_contracts.bus import feed as feeds
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.direct import subjects_of
from fastflow_contracts.bus.feed import SUBJECTS_AT_ONCE, feed, once
from fastflow_contracts.bus.streams import LOGS, bucket_stream, ensure
from fastflow_contracts.bus.subjects import RUNS
from tests.support.relay import Relay

NEVER_S: Final = 3600.0


async def test_a_feed_shows_the_latest_values_then_every_change(bus: Bus) -> None:
    """A snapshot first, marked when it is complete; then live changes."""
    for n in range(5):
        await bus.put(RUNS, f"run.a.{n % 2}", str(n).encode())
    async with aclosing(feed(bus, bucket_stream(RUNS), "$KV.ff_runs.run.>")) as changes:
        values = []
        async for batch in changes:
            values += [m.data for m in batch.messages]
            if batch.caught_up:
                break
        assert values == [b"3", b"4"]
        await bus.put(RUNS, "run.a.9", b"live")
        async for batch in changes:
            assert [m.data for m in batch.messages] == [b"live"]
            break


async def test_an_empty_feed_is_complete_at_once(bus: Bus) -> None:
    """An empty bucket has a snapshot too."""
    async with aclosing(feed(bus, bucket_stream(RUNS), "$KV.ff_runs.run.>")) as changes:
        async for batch in changes:
            assert batch.caught_up
            assert batch.messages == []
            break


async def test_a_feed_that_is_closed_leaves_nothing(bus: Bus) -> None:
    """Even one that found nothing: reading a thousand empty logs leaves no subscription and no consumer."""
    before = len(bus.client._subs)
    for _ in range(10):
        async with aclosing(feed(bus, LOGS, "ff.log.a.b.*", after=0)) as batches:
            assert (await anext(batches)).caught_up
    assert len(bus.client._subs) == before
    assert (await bus.stream(LOGS)).state.consumer_count == 0


async def test_a_feed_survives_the_death_of_the_bus_without_gap_or_repeat(tmp_path: Path) -> None:
    """The server is killed and started again on the same store; the feed continues where it was."""
    async with asyncio.TaskGroup() as group:
        seen: list[bytes] = []
        enough = asyncio.Event()

        async def follow(bus: Bus) -> None:
            async with aclosing(feed(bus, "FF_LOGS", "ff.log.>", after=0)) as lines:
                async for batch in lines:
                    seen.extend(m.data for m in batch.messages)
                    if len(seen) >= 40:
                        enough.set()
                        return

        async with embedded_bus(tmp_path) as url:
            async with connect(url, name="setup") as first:
                await ensure(first.js)
            reader = group.create_task(asyncio.sleep(0))
            async with connect(url, name="follower") as bus:
                reader = group.create_task(follow(bus))
                for n in range(20):
                    await bus.publish("ff.log.a.b.1", str(n).encode(), expect_sequence=None)
                pid = int((tmp_path / "bus.pid").read_text())
                os.kill(pid, signal.SIGKILL)
                port = int(url.rpartition(":")[2])
                async with embedded_bus(tmp_path, port=port):
                    for n in range(20, 40):
                        await bus.publish("ff.log.a.b.1", str(n).encode())
                    async with asyncio.timeout(20):
                        await enough.wait()
                    await reader
    assert seen == [str(n).encode() for n in range(40)]


async def test_a_feed_notices_what_a_lost_connection_swallowed(
    bus_url: str, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the server said was lost with the connection, and no later message shows the gap."""
    monkeypatch.setattr(feeds, "LOOK_S", NEVER_S)
    async with Relay(bus_url) as relay, connect(relay.url, name="follower") as far:
        await bus.publish("ff.log.a.b.1", b"0")
        async with aclosing(feed(far, LOGS, "ff.log.>", after=0)) as batches, asyncio.timeout(60):
            assert [message.data for message in (await anext(batches)).messages] == [b"0"]
            following = asyncio.ensure_future(anext(batches))
            await far.client.flush()
            relay.cut()
            await bus.publish("ff.log.a.b.1", b"1")
            relay.drop()
            relay.mend()
            assert [message.data for message in (await following).messages] == [b"1"]


@pytest.mark.parametrize("subject", ["ff.log.a.b.1", "$KV.ff_runs.run.a.b", "$KV.ff_links.links.a"])
async def test_a_feed_is_woken_by_what_is_stored(bus: Bus, subject: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait for its next look."""
    monkeypatch.setattr(feeds, "LOOK_S", NEVER_S)
    stream = await bus.js.find_stream_name_by_subject(subject)
    async with aclosing(feed(bus, stream, subject)) as batches, asyncio.timeout(60):
        await anext(batches)
        for number in range(20):
            following = asyncio.ensure_future(anext(batches))
            await asyncio.sleep(0)
            await bus.publish(subject, str(number).encode())
            assert [message.data for message in (await following).messages] == [str(number).encode()]


async def test_a_feed_looks_where_the_server_says_nothing(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bucket of runs says only which records of runs it stored."""
    monkeypatch.setattr(feeds, "LOOK_S", 0.05)
    async with aclosing(feed(bus, bucket_stream(RUNS), "$KV.ff_runs.limit.running")) as batches, asyncio.timeout(60):
        await anext(batches)
        await bus.put(RUNS, "limit.running", b"1")
        assert [message.data for message in (await anext(batches)).messages] == [b"1"]


async def test_a_snapshot_while_others_write_misses_and_repeats_nothing(bus: Bus) -> None:
    """It takes several requests. What was written between them comes once, and never an older value after a newer."""
    keys = [f"run.p.{number:04}" for number in range(2 * SUBJECTS_AT_ONCE + 1)]
    await asyncio.gather(*(bus.put(RUNS, key, b"0") for key in keys))
    newest: dict[str, int] = {}
    written = 0
    async with aclosing(feed(bus, bucket_stream(RUNS), "$KV.ff_runs.run.>")) as batches, asyncio.timeout(60):
        async for batch in batches:
            assert not batch.restarted or not newest
            for message in batch.messages:
                assert message.sequence > newest.get(message.subject, 0)
                newest[message.subject] = message.sequence
            if written < 8:
                written += 1
                for key in (keys[0], keys[-1], f"run.p.new{written}"):
                    await bus.put(RUNS, key, str(written).encode())
            elif max(newest.values()) == await bus.last_sequence(bucket_stream(RUNS)):
                break
    for subject, sequence in newest.items():
        assert (await bus.js.get_last_msg(bucket_stream(RUNS), subject)).seq == sequence
    assert len(newest) == len(keys) + 8


async def test_headers_of_a_publisher_change_nothing(bus: Bus) -> None:
    """They have the names of the server's own: a message that ends an answer, is another one, or is the last."""
    forged = {
        "Status": "204",
        "Description": "EOB",
        "Nats-Subject": "ff.log.other.run.1",
        "Nats-Sequence": "999",
        "Nats-Last-Sequence": "998",
        "Nats-Num-Pending": "0",
        "Nats-Time-Stamp": "never",
        "nats-sequence": "7",
        "Own": "kept",
    }
    for number in range(3):
        await bus.publish("ff.log.a.b.1", str(number).encode(), headers=forged)
    async with aclosing(feed(bus, LOGS, "ff.log.>", after=0)) as batches, asyncio.timeout(60):
        batch = await anext(batches)
    assert [(message.subject, message.sequence) for message in batch.messages] == [
        ("ff.log.a.b.1", number) for number in (1, 2, 3)
    ]
    assert {message.header("own") for message in batch.messages} == {"kept"}
    async with asyncio.timeout(60):
        assert [[message.sequence for message in part.messages] async for part in once(bus, LOGS, "ff.log.>")] == [[3]]


async def test_a_list_of_more_subjects_than_one_answer_has_is_complete(bus: Bus) -> None:
    """A server lists 100,000 subjects at once."""
    wanted = [f"ff.log.a.b.{number}" for number in range(100_003)]
    for subject in wanted[1:]:
        await bus.client.publish(subject, b"")
    await bus.publish(wanted[0], b"")  # stored last: all others are there
    assert await subjects_of(bus, LOGS, "ff.log.>") == sorted(wanted)
