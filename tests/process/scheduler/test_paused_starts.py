"""Starts during a pause, with three schedulers of which two are killed: each is one run, and begins after the pause."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from fastflow_contracts.bus import streams
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.subjects import PAUSE_KEY
from fastflow_contracts.clock import now
from fastflow_contracts.pipelines.pauses import NOT_PAUSED, PauseRecord, PauseSet, pause_sets
from fastflow_contracts.runs.run import RunStatus
from fastflow_contracts.runs.store import RunStore
from tests.support.processes import BusServer, Service
from tests.support.records import a_bundle, publish_pipeline
from tests.support.system import system

STARTS = 60


@pytest.mark.slow
async def test_starts_of_a_pause_become_one_run_each_though_schedulers_are_killed(tmp_path: Path) -> None:
    """One amid the starts, one at the end of the pause; the runs then begin in the order of their creation."""
    server = BusServer(tmp_path / "bus")
    url = await server.start()
    try:
        async with connect(url, name="setup") as admin:
            await streams.ensure(admin.js)
        environ = {"FASTFLOW_NATS_URL": url, "FASTFLOW_NATS_CREDENTIALS": server.credentials("scheduler")}
        services = [Service("scheduler", environ) for _ in range(3)]
        async with connect(url, name="test") as bus, system(url, tmp_path, sandbox="dummy", schedulers=0) as there:
            for service in services:
                await service.start()
            try:
                await publish_pipeline(bus, "etl", a_bundle(main_py="print(1)"))
                paused = PauseSet(installation=PauseRecord(reason="maintenance", at=now()))
                await pause_sets(bus).put(PAUSE_KEY, paused, expect=0)
                refs = [await there.start("etl", key=str(number)) for number in range(STARTS // 2)]
                await services[0].kill()
                refs += [await there.start("etl", key=str(number)) for number in range(STARTS // 2 - 5, STARTS)]
                assert len(set(refs)) == STARTS
                for ref in refs:
                    await there.until(ref, lambda run: run.status is RunStatus.PENDING)
                resumed_at = now()
                await asyncio.gather(pause_sets(bus).put(PAUSE_KEY, NOT_PAUSED, expect=None), services[1].kill())
                ended = [await there.end(ref) for ref in set(refs)]
                stored = await RunStore(bus).records.items()
            finally:
                for service in services:
                    if service.is_running:
                        await service.terminate()
    finally:
        await server.end()
    assert len(stored) == STARTS
    assert Counter(run.status for run in ended) == {RunStatus.SUCCESS: STARTS}
    assert {len(run.attempts) for run in ended} == {1}
    assert all(run.attempts[0].claimed_at >= resumed_at for run in ended)
