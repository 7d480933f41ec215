"""A syncer that runs: it watches its source, answers requests, and ends in order."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.clock import now
from fastflow_contracts.pipelines.folder.bundle import File
from fastflow_syncer.app import source_of
from fastflow_syncer.publish import Publisher
from fastflow_syncer.settings import SyncerSettings
from fastflow_syncer.sync import Syncer
from tests.git_repository import Repository
from tests.support.syncer import actions, ask, files_of, record_of, serving, until, write


async def test_a_saved_file_goes_live_by_itself(bus: Bus, tmp_path: Path) -> None:
    """Without a request: a new pipeline, a saved file and a removed folder appear on the bus."""
    root = tmp_path / "root"
    write(root, {"etl/main.py": "1"})
    async with serving(bus, SyncerSettings(pipelines_dir=str(root))):
        assert (await record_of(bus, "etl"))[0].live is not None
        write(root, {"new/main.py": "1", "new/pipeline.json": '{"description": "one"}'})
        await until(bus, "new", lambda r: r.live is not None and r.live.spec.description == "one")
        write(root, {"new/pipeline.json": '{"description": "two"}'})
        await until(bus, "new", lambda r: r.live is not None and r.live.spec.description == "two")
        write(root, {"new/pipeline.json": '{"description": '})
        await until(bus, "new", lambda r: bool(r.problems) and r.live is not None)
        shutil.rmtree(root / "new")
        await until(bus, "new", lambda r: r.removed_at is not None)


async def test_a_push_is_live_after_a_requested_sync(bus: Bus, tmp_path: Path) -> None:
    """The report names the commit; the record has its hash and subject; a force-push is followed."""
    repository = Repository(tmp_path / "origin")
    repository.commit("one", {"pipelines/etl/main.py": "1"})
    settings = SyncerSettings(git_repo_url=repository.url, pipelines_subdir="pipelines", git_sync_interval_s=0)
    async with serving(bus, settings):
        commit = repository.commit("two: \u00fc", {"pipelines/etl/main.py": "2"})
        report = await ask(bus)
        assert (report.ok, report.commit, actions(report)) == (True, commit, {"etl": "updated"})
        record, _ = await record_of(bus, "etl")
        assert record.live is not None
        assert (record.live.commit, record.live.commit_subject) == (commit, "two: \u00fc")
        repository.git("reset", "-q", "--hard", "HEAD~1")
        rewritten = repository.commit("rewritten", {"pipelines/etl/main.py": "3"})
        assert (await ask(bus)).commit == rewritten
        assert (await files_of(bus, (await record_of(bus, "etl"))[0]))["main.py"] == File(b"3")
        repository.git("branch", "-m", "gone")
        report = await ask(bus)
        assert not report.ok
        assert report.error is not None
        assert "GIT_BRANCH" in report.error
        assert (await record_of(bus, "etl"))[0].live is not None


async def test_a_damaged_mirror_is_fetched_again_within_the_same_sync(bus: Bus, tmp_path: Path) -> None:
    """No sync fails."""
    repository = Repository(tmp_path / "origin")
    repository.commit("one", {"etl/main.py": "1"})
    with source_of(SyncerSettings(git_repo_url=repository.url)) as source:
        syncer = Syncer(source, Publisher(bus))
        await syncer.sync()
        repository.commit("two", {"etl/main.py": "2"})
        shutil.rmtree(next(source._mirror._home.glob("mirror-*")) / "objects")  # type: ignore[attr-defined]
        report = await syncer.sync()
    assert (report.ok, actions(report)) == (True, {"etl": "updated"})


async def test_every_request_gets_the_report_of_a_sync_that_began_later(bus: Bus, tmp_path: Path) -> None:
    """Twenty requests at once, two syncers: twenty reports, far fewer syncs."""
    root = tmp_path / "root"
    write(root, {"etl/main.py": "1"})
    settings = SyncerSettings(pipelines_dir=str(root))
    async with serving(bus, settings), serving(bus, settings):
        asked_at = now()
        reports = await asyncio.gather(*(ask(bus) for _ in range(20)))
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
    """Configured only by its environment; SIGTERM ends it with 0."""
    write(tmp_path / "root", {"etl/main.py": "1"})
    process = await _process(bus_url, PIPELINES_DIR=str(tmp_path / "root"))
    await until(bus, "etl", lambda record: record.live is not None, within_s=15)
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize("url", ["https://user:canary@example.org/r.git", "ext::canary"])
async def test_the_process_refuses_a_bad_remote_with_a_sentence(bus_url: str, url: str) -> None:
    """It ends at once, says what to do, and does not repeat the URL."""
    process = await _process(bus_url, GIT_REPO_URL=url)
    _, stderr = await process.communicate()
    assert process.returncode not in (0, None)
    assert b"GIT_REPO_URL" in stderr
    assert b"canary" not in stderr
    assert b"Traceback" not in stderr
