"""A syncer on a bus with garbage records: it replaces its own, skips others, and continues."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.objects import ObjectStore
from fastflow_contracts.clock import now
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.records import SYNC_REPORT
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_syncer.app import serve
from fastflow_syncer.retire import Retirement
from fastflow_syncer.settings import SyncerSettings
from tests.support.garbage import litter
from tests.support.records import T0

DEMO = PipelineName("demo")


async def test_a_syncer_continues_and_repairs_its_own_records(bus_url: str, bus: Bus, tmp_path: Path) -> None:
    """Before and while it serves: it answers a request, and pipeline and status are readable again."""
    (tmp_path / "root" / "demo").mkdir(parents=True)
    (tmp_path / "root" / "demo" / "main.py").write_text("print(1)")
    pipelines = PipelineStore(bus)
    await litter(bus, "demo")
    await bus.put(subjects.PIPELINES, subjects.pipeline_key(DEMO), b"garbage")
    stop, ready = asyncio.Event(), asyncio.Event()
    settings = SyncerSettings(pipelines_dir=str(tmp_path / "root"))
    async with connect(bus_url, name="syncer") as its_bus, asyncio.TaskGroup() as group:
        group.create_task(serve(settings, its_bus, stop, ready.set))
        async with asyncio.timeout(30):
            await ready.wait()
            assert await pipelines.get(DEMO) is not None
            await litter(bus, "demo")
            await bus.put(subjects.PIPELINES, subjects.pipeline_key(DEMO), b"garbage")
            report = SYNC_REPORT.decode(await bus.ask(subjects.SYNC, b"garbage", timeout_s=20))
        stop.set()
    assert report.ok
    assert await pipelines.get(DEMO) is not None
    status = await pipelines.sync_status.get(subjects.SYNC_STATUS_KEY)
    assert status is not None
    assert status.value.last.ok


async def test_no_bundle_is_retired_while_a_record_cannot_be_read(bus: Bus) -> None:
    """The record may name any bundle. The round still ends."""
    await ObjectStore(bus).put("0" * 64, b"code")
    await litter(bus, "demo")
    retirement = Retirement(bus)
    for _ in range(2):
        assert await retirement.round(now().replace(year=T0.year + 100)) == frozenset()
    assert "0" * 64 in await ObjectStore(bus).uploaded()


async def test_garbage_metadata_of_an_object_hide_no_other(bus: Bus) -> None:
    """They are skipped, and replaced when the object is stored again."""
    store = ObjectStore(bus)
    await store.put("0" * 64, b"code")
    await bus.publish(subjects.object_note(subjects.BUNDLES, "1" * 64), b"garbage")
    assert set(await store.uploaded()) == {"0" * 64}
    await store.put("1" * 64, b"code")
    assert set(await store.uploaded()) == {"0" * 64, "1" * 64}
