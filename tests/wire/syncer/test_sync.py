"""One sync of a folder, and what it leaves on the bus."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.objects import ObjectStore
from fastflow_contracts.bus.streams import bucket_stream, object_stream
from fastflow_contracts.pipelines.folder.bundle import File
from tests.support.syncer import actions, files_of, folder_syncer, record_of, status_of, write


async def test_a_folder_becomes_records_and_bundles(bus: Bus, tmp_path: Path) -> None:
    """Every pipeline is live with its metadata and its files; other folders are ignored."""
    root = tmp_path / "root"
    write(
        root,
        {
            "etl/main.py": "print(1)",
            "etl/pipeline.json": '{"description": "d", "timeout": 5}',
            "etl/requirements.txt": "six",
            "etl.daily/main.py": "print(2)",
            "docs/README.md": "no",
        },
    )
    report = await folder_syncer(bus, root).sync()
    assert report.ok
    assert actions(report) == {"etl": "added", "etl.daily": "added"}
    assert (report.source, report.commit, report.pipelines) == (str(root), None, 2)
    record, _ = await record_of(bus, "etl")
    assert record.live is not None
    assert (record.live.spec.description, record.live.spec.timeout, record.live.has_requirements) == ("d", 5, True)
    assert (await files_of(bus, record))["main.py"] == File(b"print(1)")
    record, _ = await record_of(bus, "etl.daily")
    assert await files_of(bus, record) == {"main.py": File(b"print(2)")}
    status = await status_of(bus)
    assert status.live == status.last
    assert actions(status.last) == {"etl": "added", "etl.daily": "added"}


async def test_a_sync_without_changes_writes_nothing(bus: Bus, tmp_path: Path) -> None:
    """A second sync, of the same or of another syncer, leaves every revision as it is."""
    write(tmp_path / "root", {"etl/main.py": "1", "bad/main.py": "1", "bad/pipeline.json": "{"})
    syncer = folder_syncer(bus, tmp_path / "root")
    await syncer.sync()
    before = [await record_of(bus, name) for name in ("etl", "bad")]
    for again in (syncer, syncer, folder_syncer(bus, tmp_path / "root")):
        assert actions(await again.sync()) == {"etl": "unchanged", "bad": "refused"}
    assert [await record_of(bus, name) for name in ("etl", "bad")] == before
    assert len((await status_of(bus)).history) == 2


async def test_a_bad_version_changes_neither_the_last_good_one_nor_others(bus: Bus, tmp_path: Path) -> None:
    """The last good version stays live with the new problems beside it; other pipelines are updated."""
    root = tmp_path / "root"
    write(root, {"etl/main.py": "1", "other/main.py": "1"})
    syncer = folder_syncer(bus, root)
    await syncer.sync()
    good, _ = await record_of(bus, "etl")
    write(root, {"etl/pipeline.json": '{\n"timeout": "soon"}', "etl/main.py": "2", "other/main.py": "2"})
    assert actions(await syncer.sync()) == {"etl": "refused", "other": "updated"}
    bad, _ = await record_of(bus, "etl")
    assert bad.live == good.live
    assert [(p.field, p.line) for p in bad.problems] == [("timeout", 2)]
    write(root, {"etl/pipeline.json": '{"timeout": 3}'})
    assert actions(await syncer.sync()) == {"etl": "updated", "other": "unchanged"}
    mended, _ = await record_of(bus, "etl")
    assert mended.problems == ()
    assert (await files_of(bus, mended))["main.py"] == File(b"2")


async def test_bad_links_names_and_first_versions_are_listed(bus: Bus, tmp_path: Path) -> None:
    """Each has a record with a reason and without a version."""
    root = tmp_path / "root"
    write(root, {"with space/main.py": "1", "linked/main.py": "1", "broken/main.py": "1", "broken/pipeline.json": "["})
    (root / "linked/data").symlink_to("/etc")
    (root / "entry").mkdir()
    (root / "entry/main.py").symlink_to("../linked/main.py")
    (root / "latest").symlink_to("linked")
    report = await folder_syncer(bus, root).sync()
    assert report.ok
    assert set(actions(report).values()) == {"refused"}
    assert set(actions(report)) == {"with space", "linked", "broken", "entry", "latest"}
    assert report.pipelines == 4
    for name in ("with space", "linked", "broken", "entry"):
        record, _ = await record_of(bus, name)
        assert record.live is None
        assert record.problems
    assert (await record_of(bus, "linked"))[0].problems[0].file == "data"


async def test_a_removed_folder_disappears_and_may_return(bus: Bus, tmp_path: Path) -> None:
    """Its record is marked, its bundle stays, and a folder that returns is added."""
    root = tmp_path / "root"
    write(root, {"etl/main.py": "1", "other/main.py": "1"})
    syncer = folder_syncer(bus, root)
    await syncer.sync()
    before, _ = await record_of(bus, "etl")
    (root / "etl").rename(tmp_path / "etl")
    report = await syncer.sync()
    assert (actions(report), report.pipelines) == ({"etl": "removed", "other": "unchanged"}, 1)
    gone, _ = await record_of(bus, "etl")
    assert gone.removed_at is not None
    assert gone.live is None
    assert await files_of(bus, before)
    assert actions(await syncer.sync()) == {"other": "unchanged"}
    (tmp_path / "etl").rename(root / "etl")
    assert actions(await syncer.sync())["etl"] == "added"
    assert (await record_of(bus, "etl"))[0].removed_at is None


async def test_a_missing_source_removes_nothing(bus: Bus, tmp_path: Path) -> None:
    """The status has the failure and the last good sync; live pipelines stay live."""
    root = tmp_path / "root"
    write(root, {"etl/main.py": "1"})
    syncer = folder_syncer(bus, root)
    await syncer.sync()
    before = await record_of(bus, "etl")
    shutil.move(root, tmp_path / "away")
    report = await syncer.sync()
    assert not report.ok
    assert report.error is not None
    assert "PIPELINES_DIR" in report.error
    assert await record_of(bus, "etl") == before
    status = await status_of(bus)
    assert (status.last.ok, status.live is not None and status.live.ok) == (False, True)


async def test_many_syncers_at_once_write_each_change_once(bus_url: str, bus: Bus, tmp_path: Path) -> None:
    """Six over two connections: every pipeline has one revision, every bundle is readable."""
    root = tmp_path / "root"
    write(root, {f"p{n}/main.py": str(n) for n in range(8)})
    async with connect(bus_url, name="second") as second:
        syncers = [folder_syncer(each, root) for each in (bus, second) * 3]
        reports = await asyncio.gather(*(syncer.sync() for syncer in syncers))
    assert all(report.ok for report in reports)
    added = [c for report in reports for c in report.changes if c.action == "added"]
    assert sorted(c.pipeline for c in added) == [f"p{n}" for n in range(8)]
    info = await bus.js.stream_info(bucket_stream(subjects.PIPELINES), subjects_filter="$KV.ff_pipelines.pipeline.>")
    assert info.state.subjects == {f"$KV.ff_pipelines.pipeline.p{n}": 1 for n in range(8)}
    for n in range(8):
        assert await files_of(bus, (await record_of(bus, f"p{n}"))[0]) == {"main.py": File(str(n).encode())}


async def test_records_that_were_deleted_or_damaged_by_hand_come_back(bus: Bus, tmp_path: Path) -> None:
    """The source wins over an unreadable record."""
    root = tmp_path / "root"
    write(root, {"etl/main.py": "1", "other/main.py": "1"})
    await folder_syncer(bus, root).sync()
    await bus.delete(subjects.PIPELINES, "pipeline.etl")
    await bus.put(subjects.PIPELINES, "pipeline.other", b"{")
    await bus.put(subjects.PIPELINES, "pipeline.=ZZ", b"{}")
    report = await folder_syncer(bus, root).sync()
    assert actions(report) == {"etl": "added", "other": "added"}
    assert (await record_of(bus, "etl"))[0].live is not None
    assert (await record_of(bus, "other"))[0].live is not None


async def test_a_lost_bundle_comes_back(bus: Bus, tmp_path: Path) -> None:
    """A syncer that starts makes sure that the bundles of live versions exist."""
    write(tmp_path / "root", {"etl/main.py": "1"})
    await folder_syncer(bus, tmp_path / "root").sync()
    record, _ = await record_of(bus, "etl")
    assert record.live is not None
    await ObjectStore(bus).delete(record.live.bundle)
    await folder_syncer(bus, tmp_path / "root").sync()
    assert await files_of(bus, record) == {"main.py": File(b"1")}


async def test_a_folder_that_does_not_fit_stops_no_other(bus: Bus, tmp_path: Path) -> None:
    """Only the folder that does not fit is refused; changes elsewhere are live, and removed folders are removed."""
    write(tmp_path, {"a/main.py": "1", "b/main.py": "1", "gone/main.py": "1"})
    syncer = folder_syncer(bus, tmp_path)
    await syncer.sync()
    stream = await bus.stream(object_stream(subjects.BUNDLES))
    await bus.js.update_stream(stream.config, max_bytes=stream.state.bytes + 50_000)
    write(tmp_path, {"a/main.py": f"# {'x' * 100_000}", "b/main.py": "2"})
    shutil.rmtree(tmp_path / "gone")
    report = await syncer.sync()
    assert report.ok
    assert actions(report) == {"a": "refused", "b": "updated", "gone": "removed"}
