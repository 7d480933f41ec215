"""The bus client against a real server."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from fastflow.local.nats_server import embedded_bus
from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.access.address import redacted
from fastflow_contracts.bus.client import Bus, Put
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.errors import Rejected, RevisionConflict, Unavailable
from fastflow_contracts.bus.pull import Pull
from fastflow_contracts.bus.streams import WrongTopology, ensure, verify

RUNS = "ff_runs"


async def test_a_bus_keeps_the_name_it_was_given_first(bus: Bus) -> None:
    """A wrong address must not mix up two installations."""
    entry = await bus.get(subjects.PIPELINES, subjects.INSTALLATION_KEY)
    assert entry is not None
    await ensure(bus.js, installation=entry.value.decode())
    with pytest.raises(WrongTopology, match=f"belongs to the installation {entry.value.decode()}, not to another1"):
        await ensure(bus.js, installation="another1")
    with pytest.raises(WrongTopology, match="a-z and 0-9"):
        await ensure(bus.js, installation="An-Other")


async def test_ensure_may_be_repeated(bus: Bus) -> None:
    """The streams are complete after the first time, and the second changes nothing."""
    await ensure(bus.js)
    await verify(bus.js)


async def test_a_message_id_is_forgotten_as_soon_as_the_bus_can(bus: Bus) -> None:
    """It counts for the whole stream, so a message of another pipeline, or a second try, must not be taken for a
    duplicate. An existing stream is changed.
    """
    declared = next(stream for stream in streams.STREAMS if stream.name == streams.TRIGGERS)
    await bus.js.update_stream(replace(declared, duplicate_window=120.0))
    await ensure(bus.js)
    first = await bus.publish("ff.trigger.one", b"", message_id="order-7")
    async with asyncio.timeout(10):
        while await bus.publish("ff.trigger.two", b"", message_id="order-7") == first:
            pass


async def test_a_value_is_read_back_with_the_revision_it_was_written_at(bus: Bus) -> None:
    """``put`` returns what ``get`` shows and what the next write must expect."""
    revision = await bus.put(RUNS, "run.a.1", b"one", expect=0)
    entry = await bus.get(RUNS, "run.a.1")
    assert entry is not None
    assert (entry.value, entry.revision) == (b"one", revision)
    assert await bus.put(RUNS, "run.a.1", b"two", expect=revision) == revision + 1


async def test_a_missing_key_and_a_deleted_key_are_both_none(bus: Bus) -> None:
    """A delete marker is not a value."""
    assert await bus.get(RUNS, "run.a.1") is None
    await bus.put(RUNS, "run.a.1", b"one")
    await bus.delete(RUNS, "run.a.1")
    assert await bus.get(RUNS, "run.a.1") is None


async def test_only_one_of_many_writers_wins_a_revision(bus: Bus) -> None:
    """Compare-and-set: of twenty creates of one key exactly one succeeds."""
    results = await asyncio.gather(
        *(bus.put(RUNS, "run.a.1", str(n).encode(), expect=0) for n in range(20)), return_exceptions=True
    )
    assert sum(isinstance(r, int) for r in results) == 1
    assert sum(isinstance(r, RevisionConflict) for r in results) == 19


async def test_a_batch_is_written_whole_or_not_at_all(bus: Bus) -> None:
    """If one expectation fails, none of its values is stored."""
    first, second = await bus.commit(RUNS, [Put("run.a.1", b"a", 0), Put("input.a.1", b"b", 0)])
    assert second == first + 1
    with pytest.raises(RevisionConflict):
        await bus.commit(RUNS, [Put("run.a.2", b"a", 0), Put("input.a.1", b"c", 0)])
    assert await bus.get(RUNS, "run.a.2") is None
    assert (await bus.get(RUNS, "input.a.1")) is not None


async def test_a_key_is_found_by_wildcard(bus: Bus) -> None:
    """The newest match is returned."""
    await bus.put(RUNS, "run.a.1", b"one")
    entry = await bus.get(RUNS, "run.*.1")
    assert entry is not None
    assert (entry.key, entry.value) == ("run.a.1", b"one")


async def test_a_message_for_no_stream_is_refused_not_retried_for_ever(bus: Bus) -> None:
    """A limit of the server is a response, not an outage."""
    with pytest.raises(Rejected):
        await bus.publish("ff.trigger.a", b"x" * (bus.client.max_payload + 1))


async def test_work_arrives_once_and_in_order_over_one_open_request(bus: Bus) -> None:
    """A pull returns what is there and then waits for more."""
    async with Pull(bus, streams.TRIGGERS, streams.SCHEDULER) as pull:
        waiting = asyncio.create_task(pull.take(10))
        for n in range(30):
            await bus.publish("ff.trigger.a", str(n).encode())
        seen = []
        for message in await waiting:
            seen.append(message.data)
            await message.ack()
        while len(seen) < 30:
            for message in await pull.take(10):
                seen.append(message.data)
                await message.ack()
    assert seen == [str(n).encode() for n in range(30)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [((r":(\d+)$", ":1"), "Connect call failed"), ((r":[^:]*@", ":wrong@"), "refuses these credentials|reset by peer")],
)
async def test_a_failed_connection_is_one_error_with_its_reason(
    bus_url: str, change: tuple[str, str], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing listens, or the credentials are wrong: one error for all tries, without a password."""
    url = re.sub(*change, bus_url)
    with pytest.raises(Unavailable, match=reason) as raised:
        async with connect(url, name="stranger", connect_s=0.8):
            pass
    assert redacted(url) in str(raised.value)
    assert "@" not in redacted(url)
    assert caplog.messages == []


async def test_a_connect_that_times_out_always_ends(bus_url: str) -> None:
    """A hundred clients give up at slightly different moments of a try."""
    url = re.sub(r":[^:]*@", ":wrong@", bus_url)

    async def knock(connect_s: float) -> None:
        with pytest.raises(Unavailable):
            async with connect(url, name="stranger", connect_s=connect_s):
                pass

    before = asyncio.all_tasks()
    async with asyncio.timeout(30):
        await asyncio.gather(*(knock(0.5 + number / 300) for number in range(100)))
        while asyncio.all_tasks() != before:
            await asyncio.sleep(0.05)


async def test_a_connect_that_is_cancelled_stops(bus_url: str) -> None:
    """Cancelled at a hundred different moments, no client stays connected."""

    async def serve() -> None:
        async with connect(bus_url, name="stopped"):
            await asyncio.Event().wait()

    async with asyncio.timeout(30):
        for number in range(100):
            task = asyncio.create_task(serve())
            await asyncio.sleep(number / 10_000)
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()


async def test_an_outage_is_logged_once_for_many_tries(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One line that the bus is lost, and one with the reason."""
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(contextlib.AsyncExitStack())
        url = await server.enter_async_context(embedded_bus(tmp_path))
        bus = await stack.enter_async_context(connect(url, name="witness"))
        tries = 0
        several = asyncio.Event()
        tell = bus.client._error_cb

        async def counted(error: Exception) -> None:
            nonlocal tries
            await tell(error)
            if "Connect call failed" in str(error):
                tries += 1
                if tries == 3:
                    several.set()

        bus.client._error_cb = counted
        await server.aclose()
        async with asyncio.timeout(10):
            await several.wait()
        assert sum("Connect call failed" in str(getattr(record, "error", "")) for record in caplog.records) == 1
        port = int(url.rpartition(":")[2])
        await stack.enter_async_context(embedded_bus(tmp_path, port=port))


async def test_a_handshake_that_fails_leaves_no_connection_open(tmp_path: Path) -> None:
    """For example with a server that is ending: the connection is closed before the next try."""
    let_go = asyncio.Semaphore(0)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"is this NATS?\r\n")
        await reader.read()
        writer.close()
        let_go.release()

    async with contextlib.AsyncExitStack() as server:
        url = await server.enter_async_context(embedded_bus(tmp_path))
        async with connect(url, name="witness"):
            await server.aclose()
            stranger = asyncio.start_server(accept, "127.0.0.1", int(url.rpartition(":")[2]))
            async with asyncio.timeout(10), await stranger:
                for _ in range(3):
                    await let_go.acquire()
