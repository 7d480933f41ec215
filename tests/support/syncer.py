"""A syncer under test, its source, and what it put on the bus."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.bus.objects import ObjectStore
from fastflow_contracts.bus.streams import bucket_stream
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.folder import bundle
from fastflow_contracts.pipelines.folder.bundle import File
from fastflow_contracts.pipelines.records import (
    PIPELINE,
    SYNC_REPORT,
    SYNC_STATUS,
    PipelineRecord,
    SyncReportRecord,
    SyncStatusRecord,
)
from fastflow_syncer.app import serve
from fastflow_syncer.publish import Publisher
from fastflow_syncer.settings import SyncerSettings
from fastflow_syncer.sources.folder import FolderSource
from fastflow_syncer.sync import Syncer

SEEN_S = 30.0
"""Only a hang takes this long."""


def write(root: Path, files: dict[str, str]) -> None:
    """Write files below *root*, by relative path."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def folder_syncer(bus: Bus, root: Path) -> Syncer:
    """Return a syncer that reads *root*."""
    return Syncer(FolderSource(root), Publisher(bus))


async def record_of(bus: Bus, name: str) -> tuple[PipelineRecord, int]:
    """Return the record of a pipeline, and its revision."""
    entry = await bus.get(subjects.PIPELINES, subjects.pipeline_key(PipelineName(name)))
    assert entry is not None
    return PIPELINE.decode(entry.value), entry.revision


async def files_of(bus: Bus, record: PipelineRecord) -> dict[str, File]:
    """Return the files in the bundle of the live version."""
    assert record.live is not None
    return bundle.unpack(await ObjectStore(bus).get(record.live.bundle))


def actions(report: SyncReportRecord) -> dict[str, str]:
    """Return what a sync did, by pipeline."""
    return {change.pipeline: change.action for change in report.changes}


async def status_of(bus: Bus) -> SyncStatusRecord:
    """Return the status that syncs have left."""
    entry = await bus.get(subjects.PIPELINES, subjects.SYNC_STATUS_KEY)
    assert entry is not None
    return SYNC_STATUS.decode(entry.value)


@contextlib.asynccontextmanager
async def serving(bus: Bus, settings: SyncerSettings) -> AsyncIterator[None]:
    """Run a syncer until the end of the block."""
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(serve(settings, bus, stop, ready.set), name="syncer")
    try:
        async with asyncio.timeout(10):
            await ready.wait()
        yield
    finally:
        stop.set()
        await task


async def until(bus: Bus, name: str, wanted: Callable[[PipelineRecord], bool], within_s: float = SEEN_S) -> None:
    """Wait until the record of *name* is as wanted, following the bus."""
    subject = f"$KV.{subjects.PIPELINES}.{subjects.pipeline_key(PipelineName(name))}"
    async with asyncio.timeout(within_s), aclosing(feed(bus, bucket_stream(subjects.PIPELINES), subject)) as changes:
        async for batch in changes:
            if any(wanted(PIPELINE.decode(message.data)) for message in batch.messages):
                return


async def ask(bus: Bus) -> SyncReportRecord:
    """Request a sync and return its report."""
    return SYNC_REPORT.decode(await bus.ask(subjects.SYNC, b"", timeout_s=10))
