"""A flood of starts: new runs stop before the bucket is full, and what exists can still be changed and removed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import Rejected
from fastflow_contracts.bus.streams import bucket_stream
from fastflow_contracts.runs import messages, room
from fastflow_contracts.runs.run import RunInput, RunRecord
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_contracts.runs.store import NoSuchRun, RunStore
from tests.support.command import fastflow
from tests.support.gateway import WEBHOOK_KEY, Client, running_gateway, running_scheduler
from tests.support.records import a_bundle, a_run, publish_pipeline

BYTES_MAX = 200_000
HANDLED_S = 60.0


@pytest_asyncio.fixture(autouse=True)
async def small(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket for some hundred runs, looked at before each of them."""
    monkeypatch.setattr(room, "CHECKS_MAX", 1)
    monkeypatch.setattr(room, "NO_ROOM_S", 0.5)
    monkeypatch.setattr("fastflow_scheduler.starting.trigger_consumer.NO_ROOM_S", 0.5)
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), webhook_key=WEBHOOK_KEY)
    await publish_pipeline(bus, "other", a_bundle(main_py="1"))
    await bound(bus, subjects.RUNS, BYTES_MAX)


@pytest_asyncio.fixture
async def gateway(bus: Bus) -> AsyncIterator[Client]:
    async with running_scheduler(bus), running_gateway(bus) as client:
        yield client


async def bound(bus: Bus, bucket: str, bytes_max: int) -> None:
    config = (await bus.stream(bucket_stream(bucket))).config
    await bus.js.update_stream(replace(config, max_bytes=bytes_max))


async def fullness(bus: Bus, bucket: str = subjects.RUNS) -> float:
    info = await bus.stream(bucket_stream(bucket))
    return info.state.bytes / (info.config.max_bytes or 1)


async def refused_at_last(gateway: Client) -> str:
    """Call the webhook until a call is refused; return the reason."""
    for _ in range(1000):
        answer = await gateway.post(f"/api/webhooks/demo/{WEBHOOK_KEY}", anonymous=True, data=b"x" * 100)
        if answer.status != 200:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "60")
            return str(answer.json["detail"])
    raise AssertionError("no call was refused")


async def test_a_flood_by_webhook_leaves_room_for_the_changes_of_runs(bus: Bus, gateway: Client) -> None:
    """It once filled the bucket, and then nothing could be cancelled. The refused call is a skip with its message."""
    reason = await refused_at_last(gateway)
    assert "`fastflow bus purge`" in reason
    ready = await gateway.get("/readyz", anonymous=True)
    assert (ready.status, ready.json["dependencies"]["room"][:24]) == (200, reason[:24])
    assert 0.74 < await fullness(bus) < 0.8
    runs = (await gateway.get("/api/runs")).json["runs"]
    for run in runs[:10]:
        cancelled = await gateway.post(f"/api/runs/{run['id']}/cancel")
        assert (cancelled.status, cancelled.json["status"]) == (200, "INTERRUPTED")
    (skip,) = (await gateway.get("/api/skipped")).json["skips"]
    assert skip["pipeline_name"] == "demo"


async def test_a_trigger_waits_in_its_stream_until_there_is_room(
    bus: Bus, bus_url: str, gateway: Client, tmp_path: Path
) -> None:
    """Also one of another pipeline. The operator looks first, then removes the flood; nothing is lost."""
    await refused_at_last(gateway)
    await bus.publish("ff.trigger.other", b"")
    purge = ("bus", "purge", "--nats-url", bus_url, "--pipeline", "demo", "--waiting")
    before = await fullness(bus)
    shown = await asyncio.to_thread(fastflow, *purge, cwd=tmp_path)
    assert "would be removed" in shown.stdout, shown.stderr
    assert await fullness(bus) == before
    assert (await bus.stream(streams.TRIGGERS)).state.messages == 1
    done = await asyncio.to_thread(fastflow, *purge, "--yes", cwd=tmp_path)
    assert "are removed" in done.stdout, done.stderr
    async with asyncio.timeout(HANDLED_S):
        while [run["pipeline_name"] for run in (await gateway.get("/api/runs")).json["runs"]] != ["other"]:
            await asyncio.sleep(0.1)
    assert (await bus.stream(streams.TRIGGERS)).state.messages == 0


async def test_a_bucket_that_is_full_to_the_last_byte_can_be_emptied(bus: Bus, bus_url: str, tmp_path: Path) -> None:
    """Then a cancel that waited is carried out. An older version may have left such a bucket."""
    runs = RunStore(bus)
    active, ended = await created(bus), await created(bus)
    await runs.change(ended.ref, Cancel())
    while await over_at_once(bus):
        pass
    number = 0
    while await is_stored(bus, f"limit.filler.{number}"):
        number += 1
    async with running_scheduler(bus):
        await bus.publish(subjects.command(active.ref), messages.CANCEL.encode(Cancel()))
        async with asyncio.timeout(HANDLED_S):
            while not (await bus.js.consumer_info(streams.COMMANDS, streams.SCHEDULER)).num_redelivered:
                await asyncio.sleep(0.1)
        assert not (await runs.load(active.ref)).run.is_over
        done = await asyncio.to_thread(
            fastflow, "bus", "purge", "--nats-url", bus_url, "--hours", "0", "--yes", cwd=tmp_path
        )
        assert "run(s) are removed" in done.stdout, done.stderr
        async with asyncio.timeout(HANDLED_S):
            while not (await runs.load(active.ref)).run.is_over:
                await asyncio.sleep(0.1)
    with pytest.raises(NoSuchRun):
        await runs.load(ended.ref)


async def test_large_events_are_refused_before_their_bucket_is_full(bus: Bus, gateway: Client) -> None:
    """They fill no other bucket; runs without an event of their own wait, too, so that none jumps the queue."""
    await bound(bus, subjects.INPUTS, 30_000)
    assert subjects.INPUTS in await refused_at_last(gateway)
    assert await fullness(bus) < 0.7
    run = (await gateway.get("/api/runs")).json["runs"][0]
    assert (await gateway.post(f"/api/runs/{run['id']}/cancel")).status == 200


async def over_at_once(bus: Bus) -> bool:
    """Create a run that is over. Returns whether there was room."""
    try:
        run = await created(bus)
        await RunStore(bus).change(run.ref, Cancel())
    except Rejected:
        return False
    return True


async def is_stored(bus: Bus, key: str) -> bool:
    """Write an empty value. Returns whether there was room."""
    try:
        await bus.put(subjects.RUNS, key, b"")
    except Rejected:
        return False
    return True


async def created(bus: Bus) -> RunRecord:
    run = a_run(has_input=True)
    assert await RunStore(bus).create(run, RunInput(overrides={"A": "x" * 100}))
    return run
