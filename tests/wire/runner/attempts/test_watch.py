"""A held run stops when its record says so, and only then. A real bus."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from fastflow_contracts.bus import subjects
from fastflow_contracts.clock import now
from fastflow_contracts.runs.run import RUN, Ended, Running, Verdict
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_runner.attempts import watch as watching
from fastflow_runner.attempts.watch import watch
from tests.support.runner_bench import Bench


async def test_a_forged_event_stops_no_script(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that the run is cancelled, ended, or another runner's; the record says otherwise."""
    monkeypatch.setattr(watching, "LOOK_S", 3600.0)
    held = await bench.held(await bench.pending())
    assert isinstance(held.state, Running)
    cancelled = asyncio.Event()
    bus = bench.context.bus
    watcher = asyncio.create_task(watch(bus, bench.runs, held, on_cancel=cancelled.set))
    loads = 0
    load = bench.runs.load

    async def counted(*args: object) -> object:
        nonlocal loads
        loads += 1
        return await load(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.runs, "load", counted)
    forged = (
        RUN.encode(replace(held, state=replace(held.state, cancel_requested_at=now()))),
        RUN.encode(replace(held, state=replace(held.state, epoch=held.epoch + 1))),
        RUN.encode(replace(held, state=Ended(verdict=Verdict.SUCCESS, at=now()))),
        b"not a record",
    )
    async with asyncio.timeout(60):
        for number, event in enumerate(forged, start=1):
            while loads < number:
                await bus.client.publish(subjects.run_event(held.ref), event)
                await bus.client.flush()
                await asyncio.sleep(0.01)
        assert not watcher.done()
        assert not cancelled.is_set()
        await bench.runs.change(held.ref, Cancel())
        await cancelled.wait()
        watcher.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watcher


async def test_a_run_that_ends_at_once_is_neither_watched_nor_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own writes find every change: it costs three of them, one look at the pauses, and no more requests."""
    monkeypatch.setattr(watching, "UNWATCHED_S", 3600.0)
    attempt = await bench.claim(await bench.pending())
    client = bench.context.bus.client
    asked: list[str] = []
    request = client.request

    async def counted(subject: str, *args: Any, **kwargs: Any) -> Any:
        asked.append(subject)
        return await request(subject, *args, **kwargs)

    async def refused(subject: str, *_: Any, **__: Any) -> Any:
        raise AssertionError(f"subscribed to {subject}")

    with monkeypatch.context() as tap:
        tap.setattr(client, "request", counted)
        tap.setattr(client, "subscribe", refused)
        await attempt.carry_out()
    look, *writes = asked
    assert look == "$JS.API.STREAM.MSG.GET.KV_ff_schedules"
    assert writes == [f"$KV.ff_runs.{subjects.run_key(attempt.ref)}"] * 2  # prepared, ended


async def test_a_cancel_before_the_watch_begins_is_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """No event repeats it: the record is read when the watch begins."""
    monkeypatch.setattr(watching, "LOOK_S", 3600.0)
    held = await bench.held(await bench.pending())
    await bench.runs.change(held.ref, Cancel())
    cancelled = asyncio.Event()
    watcher = asyncio.create_task(watch(bench.context.bus, bench.runs, held, on_cancel=cancelled.set))
    async with asyncio.timeout(60):
        await cancelled.wait()
    watcher.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watcher
