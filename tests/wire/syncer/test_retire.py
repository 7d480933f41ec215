"""Bundles that no pipeline uses are deleted."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.streams import object_stream
from fastflow_contracts.clock import now
from fastflow_contracts.pipelines.folder.bundle import File
from fastflow_syncer import retire
from fastflow_syncer.publish import Publisher
from fastflow_syncer.retire import KEPT_S, Retirement
from fastflow_syncer.sources.folder import FolderSource
from fastflow_syncer.sync import Syncer
from tests.support.syncer import files_of, record_of, write


async def test_unused_bundles_are_retired(bus: Bus, tmp_path: Path) -> None:
    """Old ones are deleted in the second round that finds them unused; listed versions and young ones stay."""
    root = tmp_path / "root"
    syncer = Syncer(FolderSource(root), Publisher(bus, versions_max=1))
    versions = []
    for text in ("1", "2", "3"):
        write(root, {"etl/main.py": text})
        await syncer.sync()
        record, _ = await record_of(bus, "etl")
        assert record.live is not None
        versions.append(record.live.bundle)
    retirement = Retirement(bus)
    assert await retirement.round(now()) == frozenset()
    assert await retirement.round(now()) == frozenset()
    later = now() + timedelta(seconds=KEPT_S + 60)
    assert await retirement.round(later) == frozenset()
    assert await retirement.round(later) == {versions[0]}
    assert await retirement.round(later) == frozenset()
    assert await files_of(bus, record) == {"main.py": File(b"3")}


async def test_bundles_are_retired_soon_after_the_start(
    bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what is stored counts, not how long the syncer has run."""
    monkeypatch.setattr(retire, "SOON_S", 0.01)
    monkeypatch.setattr(retire, "KEPT_S", 0.0)
    syncer = Syncer(FolderSource(tmp_path), Publisher(bus, versions_max=1))
    for text in ("1", "2", "3"):
        write(tmp_path, {"etl/main.py": text})
        await syncer.sync()
    retiring = asyncio.create_task(Retirement(bus).serve(), name="retire")
    async with asyncio.timeout(10):
        while len(await _bundles(bus)) > 2:
            await asyncio.sleep(0.01)
    retiring.cancel()
    record, _ = await record_of(bus, "etl")
    assert await files_of(bus, record) == {"main.py": File(b"3")}


async def _bundles(bus: Bus) -> set[str]:
    """Return the subjects of the stored bundles' metadata."""
    info = await bus.js.stream_info(object_stream(subjects.BUNDLES), subjects_filter=f"$O.{subjects.BUNDLES}.M.>")
    return set(info.state.subjects or {})
