"""The list of deployed versions that syncs leave on the bus."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.bucket import Bucket
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import RevisionConflict
from fastflow_contracts.bus.objects import ObjectStore
from fastflow_contracts.clock import now
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.records import PackageChange, Pin, PipelineRecord, VersionRecord
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.pipelines.versions import pinned, version_id
from fastflow_syncer.publish import Publisher
from fastflow_syncer.sources.folder import FolderSource
from fastflow_syncer.sync import Syncer
from tests.support.syncer import actions, folder_syncer, record_of, write

ETL = PipelineName("etl")


async def push(syncer: Syncer, root: Path, text: str, **files: str) -> str:
    """Write a new main.py, sync, and return the bundle that is the newest then."""
    write(root, {"etl/main.py": text} | {f"etl/{name.replace('__', '.')}": each for name, each in files.items()})
    await syncer.sync()
    return (await listed(syncer))[0].version.bundle


async def listed(syncer: Syncer) -> list[VersionRecord]:
    return await syncer._publisher.versions._pipelines.versions_of(ETL)


async def pin(bus: Bus, bundle: str) -> None:
    """Pin a kept version, as a gateway does."""
    store = PipelineStore(bus)
    kept = await store.version(ETL, bundle)
    assert kept is not None
    wanted = Pin(bundle=bundle, at=now(), by="api")

    def decide(record: PipelineRecord | None) -> PipelineRecord:
        assert record is not None
        return pinned(record, kept.version, wanted)

    await store.records.change(ETL, decide)


async def test_each_version_is_listed_with_what_changed(bus: Bus, tmp_path: Path) -> None:
    """Against the newest one before it; a sync without changes lists nothing."""
    syncer = folder_syncer(bus, tmp_path)
    first = await push(syncer, tmp_path, "1", requirements__txt="six==1.16", old__txt="")
    (tmp_path / "etl/old.txt").unlink()
    second = await push(syncer, tmp_path, "2", requirements__txt="six==1.17", new__txt="")
    await folder_syncer(bus, tmp_path).sync()
    newest, oldest = await listed(syncer)
    assert (newest.version.bundle, newest.before, oldest.version.bundle, oldest.before) == (second, first, first, "")
    assert oldest.changes is None
    assert newest.changes is not None
    assert newest.changes.added == ("new.txt",)
    assert newest.changes.removed == ("old.txt",)
    assert newest.changes.changed == ("main.py", "requirements.txt")
    assert newest.changes.packages == (PackageChange(name="six", before="==1.16", after="==1.17"),)


async def test_a_bad_version_is_not_listed(bus: Bus, tmp_path: Path) -> None:
    """It cannot start, so there is nothing to choose."""
    syncer = folder_syncer(bus, tmp_path)
    await push(syncer, tmp_path, "1")
    write(tmp_path, {"etl/pipeline.json": "{"})
    assert actions(await syncer.sync()) == {"etl": "refused"}
    assert len(await listed(syncer)) == 1


async def test_a_version_of_an_older_syncer_is_listed_at_the_next_sync(bus: Bus, tmp_path: Path) -> None:
    """With the time and the commit that its record has."""
    syncer = folder_syncer(bus, tmp_path)
    await push(syncer, tmp_path, "1")
    record, revision = await record_of(bus, "etl")
    await syncer._publisher.versions.forget(ETL, (await listed(syncer))[0].version.bundle)
    await folder_syncer(bus, tmp_path).sync()
    (again,) = await listed(syncer)
    assert record.live is not None
    assert (again.version, again.deployed_at) == (record.live, record.live.live_since)
    assert await record_of(bus, "etl") == (record, revision)


async def test_what_is_pushed_while_a_version_is_pinned_is_listed_and_not_live(bus: Bus, tmp_path: Path) -> None:
    """The report says why; the pin stays as people wrote it; with it gone, the newest is live at the next sync."""
    syncer = folder_syncer(bus, tmp_path)
    first = await push(syncer, tmp_path, "1")
    await push(syncer, tmp_path, "2")
    await pin(bus, first)
    write(tmp_path, {"etl/main.py": "3"})
    report = await syncer.sync()
    assert [(each.action, each.detail) for each in report.changes] == [
        ("updated", f"listed, not live: version {version_id(first)} is pinned")
    ]
    record, revision = await record_of(bus, "etl")
    third = (await listed(syncer))[0].version.bundle
    assert record.live is not None
    assert record.pin is not None
    assert (record.live.bundle, record.held_back, record.pin.bundle) == (first, third, first)
    await syncer.sync()
    await folder_syncer(bus, tmp_path).sync()
    assert await record_of(bus, "etl") == (record, revision)
    await PipelineStore(bus).records.put(ETL, replace(record, pin=None), expect=revision)
    await syncer.sync()
    record, _ = await record_of(bus, "etl")
    assert record.live is not None
    assert (record.live.bundle, record.held_back) == (third, "")


async def test_a_pin_between_look_and_write_is_kept(bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The syncer loses its compare-and-set, and decides again on the record with the pin."""
    syncer = folder_syncer(bus, tmp_path)
    first = await push(syncer, tmp_path, "1")
    write(tmp_path, {"etl/main.py": "2"})
    put, lost = Bucket.put, []

    async def late(self: object, name: object, value: object, *, expect: int | None) -> int:
        if isinstance(value, PipelineRecord) and value.pin is None and not lost:
            lost.append(value)
            await pin(bus, first)
        return await put(self, name, value, expect=expect)  # type: ignore[arg-type]

    monkeypatch.setattr(Bucket, "put", late)
    await syncer.sync()
    record, _ = await record_of(bus, "etl")
    assert lost
    assert record.live is not None
    assert record.pin is not None
    assert (record.live.bundle, record.held_back) == (first, (await listed(syncer))[0].version.bundle)


async def test_people_and_syncers_change_a_record_at_once(bus: Bus, tmp_path: Path) -> None:
    """Nobody's part is lost, whoever comes first."""
    syncers = [folder_syncer(bus, tmp_path) for _ in range(3)]
    first = await push(syncers[0], tmp_path, "1")
    for number in range(2, 8):
        write(tmp_path, {"etl/main.py": str(number)})
        results = await asyncio.gather(pin(bus, first), *(each.sync() for each in syncers), return_exceptions=True)
        assert not [each for each in results if isinstance(each, Exception) and not isinstance(each, RevisionConflict)]
        record, _ = await record_of(bus, "etl")
        newest = (await listed(syncers[0]))[0]
        assert record.live is not None
        assert record.pin is not None
        assert (record.live.bundle, record.held_back) == (first, newest.version.bundle)


async def test_only_some_versions_are_kept(bus: Bus, tmp_path: Path) -> None:
    """The newest ones; and beside them the live one and the one before it."""
    syncer = Syncer(FolderSource(tmp_path), Publisher(bus, versions_max=2))
    bundles = [await push(syncer, tmp_path, str(number)) for number in range(5)]
    assert [each.version.bundle for each in await listed(syncer)] == bundles[:2:-1]
    await pin(bus, bundles[3])
    bundles += [await push(syncer, tmp_path, str(number)) for number in range(5, 9)]
    kept = [each.version.bundle for each in await listed(syncer)]
    assert kept == [bundles[8], bundles[7], bundles[3]]


async def test_a_removed_pipeline_has_no_versions(bus: Bus, tmp_path: Path) -> None:
    """They would hold their bundles for ever."""
    syncer = folder_syncer(bus, tmp_path)
    await push(syncer, tmp_path, "1")
    await push(syncer, tmp_path, "2")
    (tmp_path / "etl/main.py").unlink()
    (tmp_path / "etl").rmdir()
    await syncer.sync()
    assert await listed(syncer) == []
    info = await bus.stream("KV_ff_pipelines")
    assert info.state.subjects is None or not [each for each in info.state.subjects if ".version." in each]


async def test_a_version_whose_predecessor_cannot_be_read_becomes_live(bus: Bus, tmp_path: Path) -> None:
    """Only what changed is unknown."""
    syncer = folder_syncer(bus, tmp_path)
    first = await push(syncer, tmp_path, "1")
    await ObjectStore(bus).delete(first)
    second = await push(syncer, tmp_path, "2")
    newest = (await listed(syncer))[0]
    record, _ = await record_of(bus, "etl")
    assert record.live is not None
    assert (record.live.bundle, newest.changes, newest.before) == (second, None, first)


async def test_a_version_that_is_pushed_again_is_the_newest_one_again(bus: Bus, tmp_path: Path) -> None:
    """One entry, with the time of the last push, and the version that it replaced."""
    syncer = folder_syncer(bus, tmp_path)
    first = await push(syncer, tmp_path, "1")
    second = await push(syncer, tmp_path, "2")
    assert await push(syncer, tmp_path, "1") == first
    assert [(each.version.bundle, each.before) for each in await listed(syncer)] == [(first, second), (second, first)]


async def test_an_unreadable_version_is_written_again(bus: Bus, tmp_path: Path) -> None:
    """And does not stop the others from being listed."""
    syncer = folder_syncer(bus, tmp_path)
    first = await push(syncer, tmp_path, "1")
    second = await push(syncer, tmp_path, "2")
    key = subjects.version_key(subjects.VersionRef(ETL, version_id(second)))
    await bus.put(subjects.PIPELINES, key, b"{")
    assert [each.version.bundle for each in await listed(syncer)] == [first]
    await folder_syncer(bus, tmp_path).sync()
    assert [each.version.bundle for each in await listed(syncer)] == [second, first]
