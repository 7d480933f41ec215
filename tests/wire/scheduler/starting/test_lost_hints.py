"""Hints that get lost, and runs whose records vanish: no run waits for ever, and no place is held for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.run import Running, RunStatus
from fastflow_contracts.runs.store import RunStore
from tests.support.chains import schedulers
from tests.support.system import System, system

LATE_S = 120.0
"""Only a wait without an end takes this long."""


@pytest.mark.slow
async def test_a_waiting_run_starts_although_every_hint_was_lost(bus_url: str, bus: Bus, tmp_path: Path) -> None:
    """The last one too, after which no other start wakes anybody."""
    demo = PipelineName("demo")
    async with schedulers(bus_url, bus):
        there = System(bus)
        await there.pipeline(demo, "print(1)")
        run = await there.start(demo)
        await there.until(run, lambda _: True)
        while (await bus.js.stream_info(streams.WORK)).state.messages == 0:
            await asyncio.sleep(0.05)
        await bus.js.purge_stream(streams.WORK)
        async with system(bus_url, tmp_path, sandbox="process", schedulers=0):
            assert (await there.end(run, within_s=LATE_S)).status is RunStatus.SUCCESS


@pytest.mark.parametrize("is_running", [False, True])
async def test_a_run_whose_record_vanished_gives_its_place_back(
    bus_url: str, bus: Bus, tmp_path: Path, is_running: bool
) -> None:
    """Deleted while it waits or runs: under max_instances the next one starts."""
    demo = PipelineName("demo")
    async with system(bus_url, tmp_path, sandbox="process", runners=int(is_running)) as there:
        await there.pipeline(demo, "import time; time.sleep(600)", max_instances=1)
        first = await there.start(demo)
        await there.until(first, lambda run: isinstance(run.state, Running) or not is_running)
        await bus.js.purge_stream(
            streams.bucket_stream(subjects.RUNS), subject=f"$KV.{subjects.RUNS}.{subjects.run_key(first)}"
        )
        async with asyncio.timeout(LATE_S):
            while not [run for run in await RunStore(bus).all_of(demo) if not run.is_over]:
                await there.start(demo)
                await asyncio.sleep(0.5)
