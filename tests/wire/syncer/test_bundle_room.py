"""One pipeline's versions, many and large: they must not fill the store for all others."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.objects import ObjectStore, Uploaded
from fastflow_contracts.bus.streams import object_stream
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.runs.run import RunRecord
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_contracts.runs.store import RunStore
from fastflow_syncer import bundle_room
from fastflow_syncer.bundle_room import evictable
from fastflow_syncer.bundle_use import BundleUse
from fastflow_syncer.publish import Publisher
from fastflow_syncer.sources.folder import FolderSource
from fastflow_syncer.sync import Syncer
from tests.support.records import T0, a_run
from tests.support.syncer import actions, files_of, record_of, write

STORE_BYTES = 2_000_000
QUOTA = 600_000
FILE_BYTES = 100_000


@pytest_asyncio.fixture
async def small(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store for less than twenty versions, and no pauses."""
    monkeypatch.setattr(bundle_room, "PAUSE_S", 0.0)
    monkeypatch.setattr(bundle_room, "GRACE_S", -60.0)
    config = (await bus.stream(object_stream(subjects.BUNDLES))).config
    await bus.js.update_stream(replace(config, max_bytes=STORE_BYTES))


def syncer(bus: Bus, root: Path) -> Syncer:
    return Syncer(FolderSource(root), Publisher(bus, pipeline_bytes_max=QUOTA))


async def new_version(bus: Bus, root: Path, synced: Syncer, name: str) -> str:
    """Sync a new large version of a pipeline; return the bundle that is live then."""
    write(root, {f"{name}/main.py": "1"})
    (root / name / "data.bin").write_bytes(os.urandom(FILE_BYTES))
    report = await synced.sync()
    assert report.ok, report.error
    record, _ = await record_of(bus, name)
    assert record.live is not None
    return record.live.bundle


async def a_run_of(bus: Bus, pipeline: str, bundle: str, *, over: bool) -> RunRecord:
    run = a_run(pipeline, bundle=bundle)
    assert await RunStore(bus).create(run, None)
    return (await RunStore(bus).change(run.ref, Cancel())).run if over else run


@pytest.mark.usefixtures("small")
async def test_many_versions_of_one_pipeline_make_room_for_each_other(bus: Bus, tmp_path: Path) -> None:
    """They once filled the store, and then no other pipeline could change. What others have run stays."""
    synced = syncer(bus, tmp_path)
    quiet = [await new_version(bus, tmp_path, synced, "quiet") for _ in range(2)]
    await a_run_of(bus, "quiet", quiet[0], over=True)
    versions = []
    for _ in range(30):
        versions.append(await new_version(bus, tmp_path, synced, "flood"))
        await a_run_of(bus, "flood", versions[-1], over=True)
    assert len(set(versions)) == len(versions)
    stored = await ObjectStore(bus).uploaded()
    assert set(quiet) <= stored.keys()
    assert versions[-1] in stored
    listed = [each.version.bundle for each in await PipelineStore(bus).versions_of(PipelineName("flood"))]
    assert set(listed) <= stored.keys(), "a listed version can start"
    assert versions[-1] in listed
    await new_version(bus, tmp_path, synced, "other")
    record, _ = await record_of(bus, "other")
    assert not record.problems


@pytest.mark.usefixtures("small")
async def test_what_waiting_runs_need_stays_and_a_version_too_many_is_a_problem(bus: Bus, tmp_path: Path) -> None:
    """It is on the pipeline's page, the last good version stays live, other pipelines go on; later it is stored."""
    synced = syncer(bus, tmp_path)
    runs: list[RunRecord] = []
    for _ in range(30):
        version = await new_version(bus, tmp_path, synced, "flood")
        if runs and version == runs[-1].order.bundle:
            break
        runs.append(await a_run_of(bus, "flood", version, over=False))
    record, _ = await record_of(bus, "flood")
    assert "over its quota of 600,000: wait until those runs end" in str(record.problems[0])
    stored = await ObjectStore(bus).uploaded()
    assert {run.order.bundle for run in runs} <= stored.keys()
    await new_version(bus, tmp_path, synced, "other")
    record, _ = await record_of(bus, "other")
    assert not record.problems
    for run in runs:
        await RunStore(bus).change(run.ref, Cancel())
    assert actions(await syncer(bus, tmp_path).sync())["flood"] == "updated"
    record, _ = await record_of(bus, "flood")
    assert not record.problems
    assert "data.bin" in await files_of(bus, record)


def test_what_goes_first() -> None:
    """What no record names, the oldest first; then versions of ended runs of the pipeline with the most bytes."""
    a, b = PipelineName("a"), PipelineName("b")
    names = ("free", "b1", "a1", "a2", "a3", "new", "live")
    stored = {name: Uploaded(T0 + timedelta(seconds=number), 100) for number, name in enumerate(names)}
    stored["new"] = Uploaded(T0 + timedelta(days=1), 100)
    use = BundleUse({"live": b}, {"b1": b, "a1": a, "a2": a, "a3": a})
    at = T0 + timedelta(days=1)

    def gone(excess_bytes: int, pipeline_bytes_max: int = 1000) -> list[str]:
        return evictable(stored, use, pipeline_bytes_max=pipeline_bytes_max, excess_bytes=excess_bytes, at=at)

    assert gone(0) == []
    assert gone(1) == ["free"]
    assert gone(300) == ["free", "a1", "b1"]
    assert gone(10_000) == ["free", "a1", "b1", "a2", "a3"]
    assert gone(0, pipeline_bytes_max=200) == ["a1"]
