"""The presence of runners, and draining."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

import fastflow_runner.app
import fastflow_runner.settings
from fastflow.local import bus_client
from fastflow_api import Client, NotFound
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus, Put
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.clock import now
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.lease import Lease
from fastflow_contracts.runs.presence import PRESENCE
from fastflow_contracts.runs.run import RunStatus
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_runner.presence import PresenceWriter, Replaced
from tests.support.gateway import TOKEN, running_gateway
from tests.support.records import a_presence
from tests.support.system import system

WAITS = """\
import pathlib, time
print('on', flush=True)
while not pathlib.Path({file!r}).exists():
    time.sleep(0.05)
"""


async def test_the_api_and_a_page_show_the_live_runners(bus: Bus) -> None:
    """Host, version, slots, load, environments and what is not enforced; one that leaves says so."""
    for name in ("two", "one"):
        presence = replace(a_presence(name, slots=4, busy=1), load=0.25, environments=3, leaving=name == "two")
        await bus.put(subjects.RUNNERS, subjects.runner_key(name), PRESENCE.encode(presence))
    async with running_gateway(bus) as gateway:
        shown = (await gateway.ask("GET", "/api/runners")).json["runners"]
        page = (await gateway.ask("GET", "/runners")).text
    assert [(each["id"], each["busy"], each["slots"], each["leaving"]) for each in shown] == [
        ("one", 1, 4, False),
        ("two", 1, 4, True),
    ]
    assert [(each["host"], each["version"], each["load"], each["environments"]) for each in shown] == [
        ("h", "0", 0.25, 3)
    ] * 2
    for words in ("1 of 4 slots in use", "3 environments", "load 0.25 a core", "draining"):
        assert words in page


async def test_a_runner_shows_its_environments_and_the_load_of_its_host(bus_url: str, bus: Bus, tmp_path: Path) -> None:
    """From the beginning, and with each renewal."""
    async with system(bus_url, tmp_path, sandbox="process") as world:
        await world.pipeline("packaged", "print(1)", requirements="--no-index  # an environment of its own\n")
        assert (await world.run("packaged")).status is RunStatus.SUCCESS
        async with asyncio.timeout(30):
            while not (found := await bus_client.runners(bus, now=now()))[0].environments:
                await asyncio.sleep(0.1)
    (runner,) = found
    assert runner.host == os.uname().nodename
    assert runner.environments == 1
    assert runner.load >= 0


async def test_a_drained_runner_finishes_its_runs_and_leaves(bus_url: str, bus: Bus, tmp_path: Path) -> None:
    """However long that takes; new runs wait for another runner."""
    go_on = tmp_path / "go-on"
    settings = fastflow_runner.settings.RunnerSettings(
        runner_id="leaving", sandbox="process", data_dir=str(tmp_path / "leaving"), grace_s=0
    )
    stop, ready = asyncio.Event(), asyncio.Event()
    async with connect(bus_url, name="leaving") as its_bus, asyncio.TaskGroup() as group:
        runner = group.create_task(fastflow_runner.app.serve(settings, its_bus, stop, ready.set))
        async with system(bus_url, tmp_path, sandbox="process", runners=0) as world:
            await ready.wait()
            await world.pipeline("waits", WAITS.format(file=str(go_on)))
            first = await world.start("waits")
            await world.first_output(first)
            async with running_gateway(bus) as gateway, Client(gateway.url, TOKEN) as api:
                leaving = await api.drain_runner("leaving")
            assert (leaving.leaving, leaving.busy) == (True, 1)
            second = await world.start("waits")
            go_on.touch()
            assert (await world.end(first)).status is RunStatus.SUCCESS
            await runner
            assert not stop.is_set()
            assert (await world.until(second, lambda run: True)).status is RunStatus.PENDING
    assert await bus_client.runners(bus, now=now()) == []
    async with running_gateway(bus) as gateway, Client(gateway.url, TOKEN) as api:
        with pytest.raises(NotFound, match="there are: none"):
            await api.drain_runner("leaving")


async def test_a_hint_that_shows_an_old_record_starts_nothing(bus_url: str, bus: Bus, tmp_path: Path) -> None:
    """A run is cancelled while its hint, with the older record, waits for a runner: it stays cancelled."""
    async with system(bus_url, tmp_path, sandbox="dummy", runners=0) as world:
        await world.pipeline("quick", "print()")
        cancelled = await world.start("quick")
        await world.until(cancelled, lambda run: True)
        await bus.publish(subjects.command(cancelled), messages.CANCEL.encode(Cancel()))
        before = await world.until(cancelled, lambda run: run.is_over)
        stop, ready = asyncio.Event(), asyncio.Event()
        settings = fastflow_runner.settings.RunnerSettings(sandbox="dummy", data_dir=str(tmp_path / "late"))
        async with connect(bus_url, name="late") as its_bus, asyncio.TaskGroup() as group:
            group.create_task(fastflow_runner.app.serve(settings, its_bus, stop, ready.set))
            later = await world.run("quick")
            stop.set()
        assert later.status is RunStatus.SUCCESS
        assert await world.until(cancelled, lambda run: True) == before
        assert before.status is RunStatus.INTERRUPTED


async def test_a_runner_recognizes_a_renewal_that_was_stored_without_a_response(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next renewal finds an unexpected record and knows that it is its own; another process' record stays."""
    lease = Lease(lease_s=0.6)
    one, other = (PresenceWriter(bus, a_presence("one"), lease, look=lambda shown: shown) for _ in range(2))
    await one.announce()
    commit = bus.commit

    async def deaf(bucket: str, puts: Sequence[Put]) -> list[int]:
        monkeypatch.undo()
        await commit(bucket, puts)
        raise Unavailable("the bus did not answer")

    monkeypatch.setattr(bus, "commit", deaf)
    with pytest.raises(Unavailable):
        await one.renew()
    await one.renew()
    assert one.silent_s < lease.lease_s
    await other.announce()
    with pytest.raises(Replaced, match="FASTFLOW_RUNNER_ID"):
        await one.renew()
