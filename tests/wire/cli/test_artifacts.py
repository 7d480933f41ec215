"""``fastflow artifacts``, beside a real gateway."""

from __future__ import annotations

import json
from pathlib import Path

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.runs.artifacts.manifest import ArtifactManifest, StoredArtifact
from fastflow_contracts.runs.artifacts.store import ArtifactStore
from tests.support.gateway import claim, finish, store
from tests.support.records import a_run
from tests.wire.cli.test_commands import Command, command, url  # noqa: F401
from tests.wire.gateway.api.runs.test_artifacts import a_run_with, parts

FILES = {"report.csv": b"day,rows\n", "out/ä b.bin": bytes(range(256)) * 1000}


async def test_it_lists_and_downloads_the_files_of_a_run(bus: Bus, command: Command, tmp_path: Path) -> None:  # noqa: F811
    run = await a_run_with(bus, FILES)
    listed = await command("artifacts", run.id)
    assert listed.returncode == 0, listed.stderr
    assert [line.split("  ")[-1] for line in listed.stdout.splitlines()] == sorted(FILES)
    assert "Not stored: link stays behind" in listed.stderr
    shown = json.loads((await command("artifacts", run.id[:8], "--json")).stdout)
    assert [(each["path"], each["size_bytes"]) for each in shown["artifacts"]] == [
        (path, len(FILES[path])) for path in sorted(FILES)
    ]

    assert (await command("artifacts", run.pipeline, "report.csv")).returncode == 0
    assert (tmp_path / "report.csv").read_bytes() == FILES["report.csv"]
    assert (await command("artifacts", run.id, "--to", "all")).returncode == 0
    assert {path: (tmp_path / "all" / path).read_bytes() for path in FILES} == FILES


async def test_it_replaces_a_file_only_when_asked_to(bus: Bus, command: Command, tmp_path: Path) -> None:  # noqa: F811
    run = await a_run_with(bus, {"a.txt": b"new"})
    (tmp_path / "a.txt").write_text("mine")
    refused = await command("artifacts", run.id, "a.txt")
    assert (refused.returncode, "--force" in refused.stderr, "Traceback" in refused.stderr) == (1, True, False)
    assert (tmp_path / "a.txt").read_text() == "mine"
    assert (await command("artifacts", run.id, "a.txt", "--force")).returncode == 0
    assert (tmp_path / "a.txt").read_text() == "new"


async def test_a_file_that_is_not_there_is_named(bus: Bus, command: Command) -> None:  # noqa: F811
    run = await a_run_with(bus, {"a.txt": b"1"})
    missed = await command("artifacts", run.id, "b.txt")
    assert (missed.returncode, "left no file 'b.txt'" in missed.stderr) == (3, True)
    assert "Traceback" not in missed.stderr


async def test_a_name_that_leads_out_of_the_folder_is_refused(bus: Bus, command: Command, tmp_path: Path) -> None:  # noqa: F811
    """Whatever a server says."""
    written = await ArtifactStore(bus).gather().put("a", parts(b"1"))
    for path in ("../escaped", "/tmp/escaped", "a\x1b[2J"):
        bad = ArtifactManifest(artifacts=(StoredArtifact(path=path, size_bytes=1, sha256=written.sha256),))
        run = await finish(bus, await claim(bus, await store(bus, a_run())), artifacts=bad)
        got = await command("artifacts", run.id, "--to", "inside/deep")
        assert (got.returncode, "Traceback" in got.stderr) == (1, False), (path, got)
        assert "\x1b" not in got.stdout + got.stderr + (await command("artifacts", run.id)).stdout
    assert [each for each in tmp_path.rglob("*") if "escaped" in each.name] == []
