"""The object store against a real server."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from pathlib import Path
from typing import Any

import nats.errors
import pytest

from fastflow.local.bus_users import users_in
from fastflow.local.nats_server import USERS
from fastflow_contracts.bus import client, direct, objects, streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.errors import Rejected, Unavailable
from fastflow_contracts.bus.objects import ObjectStore
from fastflow_contracts.bus.permissions import User, inbox
from tests.support.relay import Relay


async def test_an_object_is_stored_once_and_checked_when_read(bus: Bus) -> None:
    """Objects are named by their hash; bytes with another hash are refused."""
    data = b"code" * 100_000
    name = hashlib.sha256(data).hexdigest()
    await ObjectStore(bus).put(name, data)
    await ObjectStore(bus).put(name, data)
    assert await ObjectStore(bus).get(name) == data
    await ObjectStore(bus).put("0" * 64, b"forged")
    with pytest.raises(Rejected):
        await ObjectStore(bus).get("0" * 64)
    with pytest.raises(Rejected):
        await ObjectStore(bus).get("1" * 64)


async def parts(bus: Bus) -> dict[str, int]:
    """Return the number of stored messages of objects, by subject."""
    info = await bus.js.stream_info(streams.object_stream(subjects.BUNDLES), subjects_filter="$O.>")
    return info.state.subjects or {}


@pytest.mark.parametrize("trouble", ["silence", "closed"])
@pytest.mark.parametrize("step", ["put", "get", "delete"])
async def test_losing_the_bus_within_an_object_is_one_error(
    bus_url: str, step: str, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``Unavailable``, never a bare timeout."""
    monkeypatch.setattr(client, "ANSWER_S", 0.5)
    monkeypatch.setattr(objects, "ANSWER_S", 0.5)
    async with Relay(bus_url) as relay, connect(relay.url, name="far") as bus:
        ask = bus.js.get_last_msg

        async def ask_in_vain(*about: Any) -> object:
            if trouble == "silence":
                relay.cut()
            else:
                await bus.client.close()
            return await ask(*about)

        monkeypatch.setattr(bus.js, "get_last_msg", ask_in_vain)
        store = ObjectStore(bus)
        do = {"put": store.put, "get": store.get, "delete": store.delete}[step]
        with pytest.raises(Unavailable, match=r"the bus did not \w+ object 0+: nats: (timeout|connection closed)"):
            await do("0" * 64, *([b"code"] if step == "put" else []))  # type: ignore[operator]
        relay.mend()


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["cancelled", "too slow", "lost"])
async def test_an_unfinished_object_leaves_nothing(
    bus_url: str, bus: Bus, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer is cancelled, too slow, or loses its connection: the parts are removed, and the object can be
    stored again.
    """
    data = b"code" * 12 * 1024 * 1024
    name = hashlib.sha256(data).hexdigest()
    async with Relay(bus_url) as relay, connect(relay.url, name="far") as far:
        with monkeypatch.context() as patch:
            if ending == "too slow":
                patch.setattr(objects, "OBJECT_S", 2.0)
            storing = asyncio.create_task(ObjectStore(far).put(name, data), name="storing")
            while not (storing.done() or await parts(bus)):
                await asyncio.sleep(0)
            relay.cut()
            if ending == "cancelled":
                storing.cancel()
            elif ending == "too slow":
                await asyncio.sleep(objects.OBJECT_S)
            else:
                relay.drop()
            relay.mend()
            with pytest.raises(asyncio.CancelledError if ending == "cancelled" else Unavailable):
                await storing
        assert await parts(bus) == {}
        await ObjectStore(far).put(name, data)
        assert sorted((await parts(bus)).values()) == [1, len(data) // objects.CHUNK_BYTES]


async def test_services_need_only_their_own_permissions_for_objects(own_bus_url: str, tmp_path: Path) -> None:
    """The syncer stores and removes; runner and gateway read, also large ones."""
    data = b"code" * 2 * 1024 * 1024
    name = hashlib.sha256(data).hexdigest()
    bare, seeds = f"nats://{own_bus_url.rpartition('@')[2]}", users_in(tmp_path / "bus" / USERS).seeds
    async with contextlib.AsyncExitStack() as stack:
        syncer, runner, gateway = [
            await stack.enter_async_context(connect(bare, name=user.value, seed=seeds[user], inbox=inbox(user)))
            for user in (User.SYNCER, User.RUNNER, User.GATEWAY)
        ]
        for _ in range(2):
            await ObjectStore(syncer).put(name, data)
        for reader in (syncer, runner, gateway):
            assert await ObjectStore(reader).get(name) == data
        await ObjectStore(syncer).delete(name)
        with pytest.raises(Rejected, match="is not in"):
            await ObjectStore(runner).get(name)


async def filled(bus: Bus, left_bytes: int) -> None:
    """Bound the bucket of objects so that only this much fits."""
    stream = await bus.stream(streams.object_stream(subjects.BUNDLES))
    await bus.js.update_stream(stream.config, max_bytes=stream.state.bytes + left_bytes)


@pytest.mark.parametrize("left_bytes", [100, 400, 150_000])
async def test_an_object_that_does_not_fit_is_refused_and_leaves_nothing(bus: Bus, left_bytes: int) -> None:
    """Its first chunk, its metadata, or a later chunk is too much; this is not an outage."""
    data = b"code" if left_bytes < 1000 else b"code" * 100_000
    await filled(bus, left_bytes)
    with pytest.raises(Rejected, match="maximum bytes exceeded"):
        await ObjectStore(bus).put(hashlib.sha256(data).hexdigest(), data)
    assert await parts(bus) == {}


async def test_an_object_can_be_removed_from_a_full_bucket(bus: Bus) -> None:
    """Completely, so that there is room again."""
    data = b"code" * 100_000
    name = hashlib.sha256(data).hexdigest()
    await ObjectStore(bus).put(name, data)
    await filled(bus, 0)
    await ObjectStore(bus).delete(name)
    assert await parts(bus) == {}
    await ObjectStore(bus).put(name, data)
    assert await ObjectStore(bus).get(name) == data


async def test_an_object_is_removed_although_a_response_is_lost(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its metadata go before its chunks, and are removed again if no response comes."""
    data = b"code" * 100_000
    name = hashlib.sha256(data).hexdigest()
    await ObjectStore(bus).put(name, data)
    purge, purged = bus.js.purge_stream, []

    async def purge_unheard(*args: Any, **about: Any) -> bool:
        done = await purge(*args, **about)
        purged.append(about["subject"].split(".")[2])
        if len(purged) == 1:
            raise nats.errors.TimeoutError
        return done

    monkeypatch.setattr(bus.js, "purge_stream", purge_unheard)
    await ObjectStore(bus).delete(name)
    assert purged == ["M", "M", "C"]
    assert await parts(bus) == {}


async def test_an_object_with_a_missing_chunk_is_refused_and_can_be_stored_again(bus: Bus) -> None:
    """Its metadata alone are not an object."""
    data = b"code" * 100_000
    name = hashlib.sha256(data).hexdigest()
    for keep in (0, 1):
        await ObjectStore(bus).put(name, data)
        chunks = next(subject for subject in await parts(bus) if ".C." in subject)
        await bus.js.purge_stream(streams.object_stream(subjects.BUNDLES), subject=chunks, keep=keep)
        async with asyncio.timeout(5):
            with pytest.raises(Rejected, match=f"incomplete: {keep} of 4 chunks"):
                await ObjectStore(bus).get(name)
        await ObjectStore(bus).put(name, data)
        assert await ObjectStore(bus).get(name) == data
        assert sorted((await parts(bus)).values()) == [1, 4]


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["read", "cancelled", "lost"])
async def test_reading_an_object_leaves_nothing_behind(
    bus_url: str, bus: Bus, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No subscription and no task, however the reading ends."""
    monkeypatch.setattr(direct, "ANSWER_S", 0.5)
    data = b"code" * 4 * 1024 * 1024
    name = hashlib.sha256(data).hexdigest()
    await ObjectStore(bus).put(name, data)
    async with Relay(bus_url) as relay, connect(relay.url, name="far") as far:
        await far.stream(streams.object_stream(subjects.BUNDLES))
        cut = asyncio.Event()

        async def some(*args: Any, **about: Any) -> object:
            if ending != "read" and about["after"]:
                relay.cut()
                cut.set()
            return await direct.following(*args, **about)

        monkeypatch.setattr(objects, "following", some)
        subscriptions, tasks = len(far.client._subs), len(asyncio.all_tasks())
        reading = asyncio.create_task(ObjectStore(far).get(name), name="reading")
        if ending == "read":
            assert await reading == data
        else:
            if ending == "cancelled":
                async with asyncio.timeout(10):
                    await cut.wait()
                reading.cancel()
            with pytest.raises(asyncio.CancelledError if ending == "cancelled" else Unavailable):
                await reading
            relay.mend()
        assert len(far.client._subs) == subscriptions
        async with asyncio.timeout(10):
            while len(asyncio.all_tasks()) != tasks:
                await asyncio.sleep(0.01)
