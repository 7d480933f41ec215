"""What of a folder travels: the same from a mounted folder and from git, except for empty folders."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fastflow_contracts.pipelines.folder import disk
from fastflow_contracts.pipelines.folder.bundle import File, pack, unpack
from fastflow_contracts.pipelines.folder.examine import examine
from fastflow_contracts.pipelines.folder.limits import FolderLimits
from fastflow_contracts.pipelines.folder.selection import Folder
from fastflow_syncer.sources.folder import FolderSource
from fastflow_syncer.sources.git import GitSource
from fastflow_syncer.sources.mirror import Mirror
from fastflow_syncer.sources.remote import Credentials, remote
from tests.git_repository import Repository

Read = Callable[..., Awaitable[Folder]]


@pytest.fixture
def etl(tmp_path: Path) -> Path:
    repository = Repository(tmp_path / "origin")
    repository.write({"etl/main.py": "print(1)\n"})
    return repository.path / "etl"


@pytest.fixture(params=["folder", "git"])
def read(request: pytest.FixtureRequest, tmp_path: Path) -> Read:
    """Read the folder ``etl``, as it is or after a commit."""

    async def through_folder(etl: Path, limits: FolderLimits = FolderLimits()) -> Folder:  # noqa: B008
        source = FolderSource(etl.parent, limits=limits)
        return await source.read(await source.snapshot(), "etl")

    async def through_git(etl: Path, limits: FolderLimits = FolderLimits()) -> Folder:  # noqa: B008
        for args in (("add", "-A", "-f"), ("-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "all")):
            subprocess.run(["git", *args], cwd=etl.parent, check=True)
        home = tmp_path / "home"
        home.mkdir()
        source = GitSource(
            Mirror(remote(etl.parent.as_uri(), "main"), Credentials(), home),
            "origin",
            subdir="",
            interval_s=0,
            limits=limits,
        )
        return await source.read(await source.snapshot(), "etl")

    return through_folder if request.param == "folder" else through_git


async def test_a_virtual_environment_of_any_name_stays_behind(etl: Path, read: Read) -> None:
    """Made by ``python -m venv venv``; a copy of the folder runs without it, and so does the pipeline."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", etl / "venv"], check=True)
    (etl / "tools/env/conda-meta").mkdir(parents=True)
    (etl / "tools/env/conda-meta/history").touch()
    (etl / "tools/x.py").touch()
    folder = await read(etl)
    assert folder == Folder({"main.py": File(b"print(1)\n"), "tools/x.py": File(b"")})
    found = examine("etl", folder, is_known=False)
    assert found is not None
    assert found.found.version is not None


async def test_a_folder_may_be_an_environment_itself(etl: Path, read: Read) -> None:
    """Made by ``python -m venv .`` in it: its parts stay behind, and the rest is the pipeline."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", etl], check=True)
    (etl / "helpers").mkdir()
    (etl / "helpers/lib").write_text("x")
    assert await read(etl) == Folder({"main.py": File(b"print(1)\n"), "helpers/lib": File(b"x")})


async def test_a_link_inside_travels_as_what_it_names(etl: Path, read: Read) -> None:
    """A link to a file, to a folder, and through another link; also one that stands for the script itself."""
    (etl / "data").mkdir()
    (etl / "data/a.csv").write_text("a")
    (etl / "run.sh").write_text("#!/bin/sh\n")
    (etl / "run.sh").chmod(0o755)
    (etl / "latest").symlink_to("data")
    (etl / "first.csv").symlink_to("latest/a.csv")
    (etl / "data/run").symlink_to("../run.sh")
    (etl / ".venv").symlink_to("/opt/venvs/etl")
    (etl / ".#main.py").symlink_to("someone@host.123")
    folder = await read(etl)
    assert folder.refusals == ()
    assert folder.files["first.csv"] == folder.files["latest/a.csv"] == File(b"a")
    assert folder.files["latest/run"] == folder.files["data/run"] == File(b"#!/bin/sh\n", executable=True)
    assert sorted(unpack(pack(folder.files).data)) == sorted(folder.files)
    assert ".venv" not in folder.files


@pytest.mark.parametrize(
    ("target", "reason"),
    [("../secret", "outside"), ("/etc/hostname", "outside"), ("gone", "not there"), ("loop", "leads back")],
)
async def test_a_link_that_cannot_travel_is_a_problem(etl: Path, read: Read, target: str, reason: str) -> None:
    """Also one to a file that exists, outside of the folder; the rest is still read as far as it tells something."""
    (etl.parent / "secret").write_text("x")
    (etl / "loop").symlink_to(target)
    folder = await read(etl)
    assert [refusal.path for refusal in folder.refusals] == ["loop"]
    assert reason in str(folder.refusals[0])
    assert set(folder.files) == {"main.py"}


async def test_the_limits_of_the_syncer_hold(etl: Path, read: Read) -> None:
    """They can be lowered and raised, and a link counts with the size of its file."""
    (etl / "data.bin").write_bytes(bytes(1000))
    (etl / "again.bin").symlink_to("data.bin")
    assert (await read(etl, FolderLimits(total_bytes=2009))).refusals == ()


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (FolderLimits(total_bytes=2008), "in all"),
        (FolderLimits(files=2), "more than 2 files"),
        (FolderLimits(file_bytes=999), "a file may have"),
    ],
)
async def test_beyond_a_limit_is_a_problem(etl: Path, read: Read, limits: FolderLimits, reason: str) -> None:
    """Each of the three limits counts separately."""
    (etl / "data.bin").write_bytes(bytes(1000))
    (etl / "again.bin").symlink_to("data.bin")
    assert reason in str((await read(etl, limits)).refusals[0])


async def test_empty_folders_travel_from_a_mounted_folder(tmp_path: Path) -> None:
    """Also one whose content stays behind, and one that a link names; not a virtual environment."""
    etl = tmp_path / "etl"
    for name in ("out", "cache/__pycache__", "venv/lib", ".git/refs"):
        (etl / name).mkdir(parents=True)
    (etl / "main.py").touch()
    (etl / "cache/__pycache__/x.pyc").touch()
    (etl / "venv/pyvenv.cfg").touch()
    (etl / "results").symlink_to("out")
    before = disk.fingerprint(etl)
    folder = await asyncio.to_thread(disk.read, etl)
    assert folder == Folder({path: File(b"") for path in ("main.py", "out/", "cache/", "results/")})
    packed = pack(folder.files)
    assert unpack(packed.data) == folder.files
    (etl / "out/new").mkdir()
    assert disk.fingerprint(etl) != before
    assert "out/new/" in (await asyncio.to_thread(disk.read, etl)).files


async def test_an_absolute_link_into_the_folder_travels(tmp_path: Path) -> None:
    """As ``ln -s $PWD/data.csv`` makes it, also where the root is behind a link."""
    etl = tmp_path / "real/etl"
    (etl / "sub").mkdir(parents=True)
    (etl / "main.py").touch()
    (tmp_path / "root").symlink_to("real")
    (etl / "sub/one").symlink_to(etl / "main.py")
    (etl / "sub/two").symlink_to(tmp_path / "root/etl/main.py")
    folder = await asyncio.to_thread(disk.read, tmp_path / "root/etl")
    assert folder.refusals == ()
    assert {"sub/one", "sub/two"} <= folder.files.keys()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
async def test_a_link_to_a_pipe_is_a_problem(tmp_path: Path) -> None:
    """Reading it would never end."""
    (tmp_path / "etl").mkdir()
    (tmp_path / "etl/main.py").touch()
    os.mkfifo(tmp_path / "etl/pipe")
    (tmp_path / "etl/link").symlink_to("pipe")
    folder = await asyncio.to_thread(disk.read, tmp_path / "etl")
    assert {refusal.path for refusal in folder.refusals} == {"pipe", "link"}
