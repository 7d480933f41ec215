"""Artifacts are stored with the end of their run, once for equal bytes, and read back whole."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import Rejected
from fastflow_contracts.bus.large_objects import LargeObjects, StoreFull
from fastflow_contracts.bus.objects import CHUNK_BYTES, ObjectStore
from fastflow_contracts.bus.streams import STREAMS, object_stream
from fastflow_contracts.runs.artifacts.store import ArtifactStore

STREAM = object_stream(subjects.ARTIFACTS)
TOMORROW = datetime.now(UTC) + timedelta(days=1)


async def parts(*data: bytes) -> AsyncIterator[bytes]:
    for each in data:
        yield each


async def whole(bus: Bus, name: str) -> bytes:
    async with aclosing(LargeObjects(bus).read(name)) as pieces:
        return b"".join([piece async for piece in pieces])


async def later(bus: Bus, wanted: set[str], *, before: datetime = TOMORROW) -> int:
    """Collect as if a day had passed since *before*."""
    sequence = await bus.last_sequence(STREAM)
    return await LargeObjects(bus).remove_others(wanted, before=before, sequence=sequence)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 40 * CHUNK_BYTES + 7])
async def test_what_goes_in_in_any_pieces_comes_out(bus: Bus, size: int) -> None:
    data = bytes(index % 251 for index in range(size))
    written = await LargeObjects(bus).put(parts(data[:5], b"", data[5:300], data[300:]))
    assert written == (hashlib.sha256(data).hexdigest(), size)
    assert await whole(bus, written.name) == data


async def test_equal_files_are_stored_once(bus: Bus) -> None:
    gathering = ArtifactStore(bus).gather()
    data = b"x" * (3 * CHUNK_BYTES)
    first, second = [await gathering.put(path, parts(data)) for path in ("a.csv", "b/c.html")]
    assert (first.sha256, first.media_type, second.media_type) == (second.sha256, "text/csv", "text/html")
    chunks, note, emptied = 3, 1, 1
    assert (await bus.stream(STREAM)).state.messages == chunks + note + emptied
    assert await later(bus, {first.sha256}) == 1
    assert (await bus.stream(STREAM)).state.messages == chunks + note


SAME = b"y" * (2 * CHUNK_BYTES)


async def test_a_run_that_finds_an_object_while_it_is_removed_does_not_lose_it(bus: Bus) -> None:
    """The removal began before the second note, so that note leads to all chunks, whoever is first."""
    store = LargeObjects(bus)
    for _ in range(20):
        name = (await store.put(parts(SAME))).name
        begun, before = await bus.last_sequence(STREAM), datetime.now(UTC)
        removals = [store.remove_others(set(), before=before, sequence=begun) for _ in range(3)]
        await asyncio.gather(*removals, store.put(parts(SAME)))
        assert await whole(bus, name) == SAME


@pytest.mark.parametrize("step", ["last_note", "is_whole"])
async def test_what_is_removed_before_a_step_of_its_writer_is_whole_afterwards(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The writer has found the object, or not yet: its own note is later than the removal."""
    store = LargeObjects(bus)
    name = (await store.put(parts(SAME))).name
    before = datetime.now(UTC)
    removed = await _once_after(monkeypatch, step, lambda: later(bus, set(), before=before), store.put(parts(SAME)))
    assert removed == 1
    assert await whole(bus, name) == SAME
    assert await later(bus, {name}) <= 1
    assert (await bus.stream(STREAM)).state.messages == 2 + 1


@pytest.mark.parametrize("step", ["uploaded", "note"])
async def test_what_is_found_between_two_steps_of_its_removal_stays(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store = LargeObjects(bus)
    name = (await store.put(parts(SAME))).name
    await _once_after(monkeypatch, step, lambda: store.put(parts(SAME)), later(bus, set(), before=datetime.now(UTC)))
    assert await whole(bus, name) == SAME


@pytest.mark.parametrize("step", ["uploaded", "note", "_note_or_none"])
async def test_of_three_removals_one_is_killed_at_any_step_and_nothing_stays(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store = LargeObjects(bus)
    for data in (SAME, b"other"):
        await store.put(parts(data))

    async def dies() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await _once_after(monkeypatch, step, dies, later(bus, set()))
    await asyncio.gather(later(bus, set()), later(bus, set()))
    assert (await bus.stream(STREAM)).state.messages == 0


async def _once_after(
    monkeypatch: pytest.MonkeyPatch, step: str, other: Callable[[], Awaitable[object]], work: Awaitable[object]
) -> object:
    """Do *work*, and *other* once after the first time that it takes *step*. Return the result of *other*."""
    real, done = getattr(ObjectStore, step), []

    async def stepped(store: ObjectStore, *given: Any) -> Any:
        result = await real(store, *given)
        if not done:
            done.append(None)
            done[0] = await other()
        return result

    monkeypatch.setattr(ObjectStore, step, stepped)
    await work
    return done[0]


async def test_an_object_that_was_found_again_stays(bus: Bus) -> None:
    store = LargeObjects(bus)
    name = (await store.put(parts(b"same"))).name
    seen = (await ObjectStore(bus, subjects.ARTIFACTS).uploaded())[name]
    await store.put(parts(b"same"))
    await ObjectStore(bus, subjects.ARTIFACTS).delete(name, until=seen.sequence)
    assert await whole(bus, name) == b"same"


async def test_what_no_run_refers_to_is_removed(bus: Bus) -> None:
    store = LargeObjects(bus)
    kept, gone = [(await store.put(parts(data))).name for data in (b"kept", b"gone")]
    await bus.publish(subjects.object_chunks(subjects.ARTIFACTS, "f" * 32), b"of a runner that died")
    assert await later(bus, {kept}) == 2
    assert await whole(bus, kept) == b"kept"
    with pytest.raises(Rejected, match="is not in"):
        await whole(bus, gone)
    assert (await bus.stream(STREAM)).state.messages == 2


async def test_young_objects_and_unfinished_uploads_stay(bus: Bus) -> None:
    store = LargeObjects(bus)
    await store.put(parts(b"young"))
    await bus.publish(subjects.object_chunks(subjects.ARTIFACTS, "f" * 32), b"under way")
    sequence = await bus.last_sequence(STREAM)
    assert await store.remove_others(set(), before=datetime.now(UTC) - timedelta(hours=1), sequence=sequence) == 0
    assert (await bus.stream(STREAM)).state.messages == 3


async def test_a_source_that_fails_leaves_nothing(bus: Bus) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"z" * CHUNK_BYTES
        raise LookupError("the sandbox is gone")

    with pytest.raises(LookupError):
        await LargeObjects(bus).put(failing())
    assert (await bus.stream(STREAM)).state.bytes < 1024  # an empty chunk, until it is collected
    assert await later(bus, set()) == 1
    assert (await bus.stream(STREAM)).state.messages == 0


async def test_a_full_store_says_what_to_do_and_keeps_what_it_has(bus: Bus) -> None:
    config = next(each for each in STREAMS if each.name == STREAM)
    await bus.js.update_stream(replace(config, max_bytes=4 * CHUNK_BYTES))
    name = (await LargeObjects(bus).put(parts(b"small"))).name
    with pytest.raises(StoreFull, match="--artifacts-bytes"):
        await LargeObjects(bus).put(parts(b"w" * (6 * CHUNK_BYTES)))
    assert await whole(bus, name) == b"small"


async def test_a_damaged_chunk_is_noticed(bus: Bus) -> None:
    store = ObjectStore(bus, subjects.ARTIFACTS)
    await store.put("0" * 64, b"forged")
    with pytest.raises(Rejected, match="damaged"):
        await whole(bus, "0" * 64)


async def test_a_large_artifact_needs_little_memory(bus: Bus) -> None:
    """256 MiB in and out; what is alive at any moment stays below 32 MiB."""

    async def large() -> AsyncIterator[bytes]:
        for number in range(256):
            yield number.to_bytes(4) * (256 * 1024)

    tracemalloc.start()
    try:
        name, size = await LargeObjects(bus).put(large())
        read = 0
        async with aclosing(LargeObjects(bus).read(name)) as pieces:
            async for piece in pieces:
                read += len(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (size, read) == (256 * 1024 * 1024, size)
    assert peak < 32 * 1024 * 1024
