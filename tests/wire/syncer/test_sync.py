"""From a source to a real bus: what others find there after a sync."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path

import pytest

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.bus.objects import ObjectStore
from fastflow_contracts.bus.streams import bucket_stream, object_stream
from fastflow_contracts.clock import now
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
from fastflow_syncer import retire
from fastflow_syncer.app import serve, source_of
from fastflow_syncer.publish import Publisher
from fastflow_syncer.retire import KEPT_S, Retirement
from fastflow_syncer.settings import SyncerSettings
from fastflow_syncer.sources.folder import FolderSource
from fastflow_syncer.sync import Syncer
from tests.git_repository import Repository

SEEN_S = 2.0


def _write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def _folder_syncer(bus: Bus, root: Path) -> Syncer:
    return Syncer(FolderSource(root), Publisher(bus))


async def _record(bus: Bus, name: str) -> tuple[PipelineRecord, int]:
    entry = await bus.get(subjects.PIPELINES, subjects.pipeline_key(PipelineName(name)))
    assert entry is not None
    return PIPELINE.decode(entry.value), entry.revision


async def _files(bus: Bus, record: PipelineRecord) -> dict[str, File]:
    assert record.live is not None
    return bundle.unpack(await ObjectStore(bus).get(record.live.bundle))


def _actions(report: SyncReportRecord) -> dict[str, str]:
    return {change.pipeline: change.action for change in report.changes}


async def _status(bus: Bus) -> SyncStatusRecord:
    entry = await bus.get(subjects.PIPELINES, subjects.SYNC_STATUS_KEY)
    assert entry is not None
    return SYNC_STATUS.decode(entry.value)


async def test_a_folder_becomes_records_and_bundles(bus: Bus, tmp_path: Path) -> None:
    """Every pipeline is live with its metadata and its files; other folders are nobody."""
    root = tmp_path / "root"
    _write(
        root,
        {
            "etl/main.py": "print(1)",
            "etl/pipeline.json": '{"description": "d", "timeout": 5}',
            "etl/requirements.txt": "six",
            "etl.daily/main.py": "print(2)",
            "docs/README.md": "no",
        },
    )
    report = await _folder_syncer(bus, root).sync()
    assert report.ok
    assert _actions(report) == {"etl": "added", "etl.daily": "added"}
    assert (report.source, report.commit, report.pipelines) == (str(root), None, 2)
    record, _ = await _record(bus, "etl")
    assert record.live is not None
    assert (record.live.spec.description, record.live.spec.timeout, record.live.has_requirements) == ("d", 5, True)
    assert (await _files(bus, record))["main.py"] == File(b"print(1)")
    record, _ = await _record(bus, "etl.daily")
    assert await _files(bus, record) == {"main.py": File(b"print(2)")}
    status = await _status(bus)
    assert status.live == status.last
    assert _actions(status.last) == {"etl": "added", "etl.daily": "added"}


async def test_nothing_new_writes_nothing(bus: Bus, tmp_path: Path) -> None:
    """A second sync, of the same or of another syncer, leaves every revision as it is."""
    _write(tmp_path / "root", {"etl/main.py": "1", "bad/main.py": "1", "bad/pipeline.json": "{"})
    syncer = _folder_syncer(bus, tmp_path / "root")
    await syncer.sync()
    before = [await _record(bus, name) for name in ("etl", "bad")]
    for again in (syncer, syncer, _folder_syncer(bus, tmp_path / "root")):
        assert _actions(await again.sync()) == {"etl": "unchanged", "bad": "refused"}
    assert [await _record(bus, name) for name in ("etl", "bad")] == before
    assert len((await _status(bus)).history) == 2


async def test_a_bad_version_harms_neither_its_last_good_one_nor_others(bus: Bus, tmp_path: Path) -> None:
    """The last good version stays live with the new problems beside it; the neighbour is updated as ever."""
    root = tmp_path / "root"
    _write(root, {"etl/main.py": "1", "other/main.py": "1"})
    syncer = _folder_syncer(bus, root)
    await syncer.sync()
    good, _ = await _record(bus, "etl")
    _write(root, {"etl/pipeline.json": '{\n"timeout": "soon"}', "etl/main.py": "2", "other/main.py": "2"})
    assert _actions(await syncer.sync()) == {"etl": "refused", "other": "updated"}
    bad, _ = await _record(bus, "etl")
    assert bad.live == good.live
    assert [(p.field, p.line) for p in bad.problems] == [("timeout", 2)]
    _write(root, {"etl/pipeline.json": '{"timeout": 3}'})
    assert _actions(await syncer.sync()) == {"etl": "updated", "other": "unchanged"}
    mended, _ = await _record(bus, "etl")
    assert mended.problems == ()
    assert (await _files(bus, mended))["main.py"] == File(b"2")


async def test_links_names_and_first_versions_that_are_bad_are_listed(bus: Bus, tmp_path: Path) -> None:
    """Each is on record with a reason and without a version."""
    root = tmp_path / "root"
    _write(root, {"with space/main.py": "1", "linked/main.py": "1", "broken/main.py": "1", "broken/pipeline.json": "["})
    (root / "linked/data").symlink_to("/etc")
    (root / "entry").mkdir()
    (root / "entry/main.py").symlink_to("../linked/main.py")
    (root / "latest").symlink_to("linked")
    report = await _folder_syncer(bus, root).sync()
    assert report.ok
    assert set(_actions(report).values()) == {"refused"}
    assert set(_actions(report)) == {"with space", "linked", "broken", "entry", "latest"}
    assert report.pipelines == 4
    for name in ("with space", "linked", "broken", "entry"):
        record, _ = await _record(bus, name)
        assert record.live is None
        assert record.problems
    assert (await _record(bus, "linked"))[0].problems[0].file == "data"


async def test_a_removed_folder_disappears_and_may_return(bus: Bus, tmp_path: Path) -> None:
    """Its record is marked, its bundle stays, and its return is an addition."""
    root = tmp_path / "root"
    _write(root, {"etl/main.py": "1", "other/main.py": "1"})
    syncer = _folder_syncer(bus, root)
    await syncer.sync()
    before, _ = await _record(bus, "etl")
    (root / "etl").rename(tmp_path / "etl")
    report = await syncer.sync()
    assert (_actions(report), report.pipelines) == ({"etl": "removed", "other": "unchanged"}, 1)
    gone, _ = await _record(bus, "etl")
    assert gone.removed_at is not None
    assert gone.live is None
    assert await _files(bus, before)
    assert _actions(await syncer.sync()) == {"other": "unchanged"}
    (tmp_path / "etl").rename(root / "etl")
    assert _actions(await syncer.sync())["etl"] == "added"
    assert (await _record(bus, "etl"))[0].removed_at is None


async def test_a_source_that_is_not_there_removes_nothing(bus: Bus, tmp_path: Path) -> None:
    """The failure is on record, and so is the last good sync; what was live is live."""
    root = tmp_path / "root"
    _write(root, {"etl/main.py": "1"})
    syncer = _folder_syncer(bus, root)
    await syncer.sync()
    before = await _record(bus, "etl")
    shutil.move(root, tmp_path / "away")
    report = await syncer.sync()
    assert not report.ok
    assert report.error is not None
    assert "PIPELINES_DIR" in report.error
    assert await _record(bus, "etl") == before
    status = await _status(bus)
    assert (status.last.ok, status.live is not None and status.live.ok) == (False, True)


async def test_many_syncers_at_once_do_it_once(bus_url: str, bus: Bus, tmp_path: Path) -> None:
    """Six of them over two connections: every pipeline has one revision, every bundle can be read."""
    root = tmp_path / "root"
    _write(root, {f"p{n}/main.py": str(n) for n in range(8)})
    async with connect(bus_url, name="second") as second:
        syncers = [_folder_syncer(each, root) for each in (bus, second) * 3]
        reports = await asyncio.gather(*(syncer.sync() for syncer in syncers))
    assert all(report.ok for report in reports)
    added = [c for report in reports for c in report.changes if c.action == "added"]
    assert sorted(c.pipeline for c in added) == [f"p{n}" for n in range(8)]
    info = await bus.js.stream_info(bucket_stream(subjects.PIPELINES), subjects_filter="$KV.ff_pipelines.pipeline.>")
    assert info.state.subjects == {f"$KV.ff_pipelines.pipeline.p{n}": 1 for n in range(8)}
    for n in range(8):
        assert await _files(bus, (await _record(bus, f"p{n}"))[0]) == {"main.py": File(str(n).encode())}


async def test_records_that_were_deleted_or_garbled_by_hand_come_back(bus: Bus, tmp_path: Path) -> None:
    """What the source says wins over what is not readable."""
    root = tmp_path / "root"
    _write(root, {"etl/main.py": "1", "other/main.py": "1"})
    await _folder_syncer(bus, root).sync()
    await bus.delete(subjects.PIPELINES, "pipeline.etl")
    await bus.put(subjects.PIPELINES, "pipeline.other", b"{")
    await bus.put(subjects.PIPELINES, "pipeline.=ZZ", b"{}")
    report = await _folder_syncer(bus, root).sync()
    assert _actions(report) == {"etl": "added", "other": "added"}
    assert (await _record(bus, "etl"))[0].live is not None
    assert (await _record(bus, "other"))[0].live is not None


async def test_a_lost_bundle_comes_back(bus: Bus, tmp_path: Path) -> None:
    """A syncer that starts makes sure that what is live can be fetched."""
    _write(tmp_path / "root", {"etl/main.py": "1"})
    await _folder_syncer(bus, tmp_path / "root").sync()
    record, _ = await _record(bus, "etl")
    assert record.live is not None
    await ObjectStore(bus).delete(record.live.bundle)
    await _folder_syncer(bus, tmp_path / "root").sync()
    assert await _files(bus, record) == {"main.py": File(b"1")}


async def test_bundles_nobody_refers_to_are_retired(bus: Bus, tmp_path: Path) -> None:
    """Old ones go in the second round that finds them unused; live ones and young ones stay."""
    root = tmp_path / "root"
    syncer = _folder_syncer(bus, root)
    versions = []
    for text in ("1", "2"):
        _write(root, {"etl/main.py": text})
        await syncer.sync()
        record, _ = await _record(bus, "etl")
        assert record.live is not None
        versions.append(record.live.bundle)
    retirement = Retirement(bus)
    assert await retirement.round(now()) == frozenset()
    assert await retirement.round(now()) == frozenset()
    later = now() + timedelta(seconds=KEPT_S + 60)
    assert await retirement.round(later) == frozenset()
    assert await retirement.round(later) == {versions[0]}
    assert await retirement.round(later) == frozenset()
    assert await _files(bus, record) == {"main.py": File(b"2")}


async def test_bundles_are_retired_soon_after_the_start(
    bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither how long a syncer runs nor what it remembers of a former life decides, only what is stored."""
    monkeypatch.setattr(retire, "SOON_S", 0.01)
    monkeypatch.setattr(retire, "KEPT_S", 0.0)
    syncer = _folder_syncer(bus, tmp_path)
    for text in ("1", "2"):
        _write(tmp_path, {"etl/main.py": text})
        await syncer.sync()
    retiring = asyncio.create_task(Retirement(bus).serve(), name="retire")
    async with asyncio.timeout(10):
        while len(await _bundles(bus)) > 1:
            await asyncio.sleep(0.01)
    retiring.cancel()
    record, _ = await _record(bus, "etl")
    assert await _files(bus, record) == {"main.py": File(b"2")}


async def _bundles(bus: Bus) -> set[str]:
    """Subjects of what is noted of the bundles there are."""
    info = await bus.js.stream_info(object_stream(subjects.BUNDLES), subjects_filter=f"$O.{subjects.BUNDLES}.M.>")
    return set(info.state.subjects or {})


async def test_a_folder_that_does_not_fit_stops_no_other(bus: Bus, tmp_path: Path) -> None:
    """Whoever fills the bus has the trouble; what changed elsewhere is live, and what is gone is removed."""
    _write(tmp_path, {"a/main.py": "1", "b/main.py": "1", "gone/main.py": "1"})
    syncer = _folder_syncer(bus, tmp_path)
    await syncer.sync()
    stream = await bus.stream(object_stream(subjects.BUNDLES))
    await bus.js.update_stream(stream.config, max_bytes=stream.state.bytes + 50_000)
    _write(tmp_path, {"a/main.py": f"# {'x' * 100_000}", "b/main.py": "2"})
    shutil.rmtree(tmp_path / "gone")
    report = await syncer.sync()
    assert report.ok
    assert _actions(report) == {"a": "refused", "b": "updated", "gone": "removed"}


@contextlib.asynccontextmanager
async def _serving(bus: Bus, settings: SyncerSettings) -> AsyncIterator[None]:
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(serve(settings, bus, stop, ready.set), name="syncer")
    try:
        async with asyncio.timeout(10):
            await ready.wait()
        yield
    finally:
        stop.set()
        await task


async def _until(bus: Bus, name: str, wanted: Callable[[PipelineRecord], bool], within_s: float = SEEN_S) -> None:
    """Wait until the record of *name* is as wanted, listening to the bus."""
    subject = f"$KV.{subjects.PIPELINES}.{subjects.pipeline_key(PipelineName(name))}"
    async with asyncio.timeout(within_s), aclosing(feed(bus, bucket_stream(subjects.PIPELINES), subject)) as changes:
        async for batch in changes:
            if any(wanted(PIPELINE.decode(message.data)) for message in batch.messages):
                return


async def _ask(bus: Bus) -> SyncReportRecord:
    return SYNC_REPORT.decode(await bus.ask(subjects.SYNC, b"", timeout_s=10))


async def test_saving_a_file_is_live_within_two_seconds(bus: Bus, tmp_path: Path) -> None:
    """Nobody asks: a new pipeline, a saved file and a removed folder show on the bus by themselves."""
    root = tmp_path / "root"
    _write(root, {"etl/main.py": "1"})
    async with _serving(bus, SyncerSettings(pipelines_dir=str(root))):
        assert (await _record(bus, "etl"))[0].live is not None
        _write(root, {"new/main.py": "1", "new/pipeline.json": '{"description": "one"}'})
        await _until(bus, "new", lambda r: r.live is not None and r.live.spec.description == "one")
        _write(root, {"new/pipeline.json": '{"description": "two"}'})
        await _until(bus, "new", lambda r: r.live is not None and r.live.spec.description == "two")
        _write(root, {"new/pipeline.json": '{"description": '})
        await _until(bus, "new", lambda r: bool(r.problems) and r.live is not None)
        shutil.rmtree(root / "new")
        await _until(bus, "new", lambda r: r.removed_at is not None)


async def test_a_push_is_live_after_the_sync_that_was_asked_for(bus: Bus, tmp_path: Path) -> None:
    """The answer names the commit; the record has its hash and subject; a force-push is followed."""
    repository = Repository(tmp_path / "origin")
    repository.commit("one", {"pipelines/etl/main.py": "1"})
    settings = SyncerSettings(git_repo_url=repository.url, pipelines_subdir="pipelines", git_sync_interval_s=0)
    async with _serving(bus, settings):
        commit = repository.commit("two: \u00fc", {"pipelines/etl/main.py": "2"})
        report = await _ask(bus)
        assert (report.ok, report.commit, _actions(report)) == (True, commit, {"etl": "updated"})
        record, _ = await _record(bus, "etl")
        assert record.live is not None
        assert (record.live.commit, record.live.commit_subject) == (commit, "two: \u00fc")
        repository.git("reset", "-q", "--hard", "HEAD~1")
        rewritten = repository.commit("rewritten", {"pipelines/etl/main.py": "3"})
        assert (await _ask(bus)).commit == rewritten
        assert (await _files(bus, (await _record(bus, "etl"))[0]))["main.py"] == File(b"3")
        repository.git("branch", "-m", "gone")
        report = await _ask(bus)
        assert not report.ok
        assert report.error is not None
        assert "GIT_BRANCH" in report.error
        assert (await _record(bus, "etl"))[0].live is not None


async def test_a_damaged_mirror_costs_one_sync_nothing(bus: Bus, tmp_path: Path) -> None:
    """It is made anew within the same sync."""
    repository = Repository(tmp_path / "origin")
    repository.commit("one", {"etl/main.py": "1"})
    with source_of(SyncerSettings(git_repo_url=repository.url)) as source:
        syncer = Syncer(source, Publisher(bus))
        await syncer.sync()
        repository.commit("two", {"etl/main.py": "2"})
        shutil.rmtree(next(source._mirror._home.glob("mirror-*")) / "objects")  # type: ignore[attr-defined]
        report = await syncer.sync()
    assert (report.ok, _actions(report)) == (True, {"etl": "updated"})


async def test_everyone_who_asks_is_answered_by_a_sync_that_began_later(bus: Bus, tmp_path: Path) -> None:
    """Twenty requests at once, two syncers: twenty answers, far fewer syncs."""
    root = tmp_path / "root"
    _write(root, {"etl/main.py": "1"})
    settings = SyncerSettings(pipelines_dir=str(root))
    async with _serving(bus, settings), _serving(bus, settings):
        asked_at = now()
        reports = await asyncio.gather(*(_ask(bus) for _ in range(20)))
    assert all(report.ok and report.started_at >= asked_at for report in reports)
    assert len({report.started_at for report in reports}) < 20


async def _process(bus_url: str, **environ: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "fastflow_syncer",
        env={"PATH": os.environ["PATH"], "FASTFLOW_NATS_URL": bus_url, **environ},
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_process_syncs_and_ends_in_order(bus_url: str, bus: Bus, tmp_path: Path) -> None:
    """Configured by its environment alone; SIGTERM ends it with 0."""
    _write(tmp_path / "root", {"etl/main.py": "1"})
    process = await _process(bus_url, PIPELINES_DIR=str(tmp_path / "root"))
    await _until(bus, "etl", lambda record: record.live is not None, within_s=15)
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize("url", ["https://user:canary@example.org/r.git", "ext::canary"])
async def test_the_process_refuses_a_bad_remote_in_words(bus_url: str, url: str) -> None:
    """It ends at once, says what to do, and does not repeat the URL."""
    process = await _process(bus_url, GIT_REPO_URL=url)
    _, stderr = await process.communicate()
    assert process.returncode not in (0, None)
    assert b"GIT_REPO_URL" in stderr
    assert b"canary" not in stderr
    assert b"Traceback" not in stderr
