"""Folders and git trees of odd entries: pipes, sockets, devices, folders and links in the place of files; random trees.

Each pipeline is valid or has a problem, by validate and by the syncer's sources alike. ``make verify`` draws 100 trees.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from fastflow.local.checks import check
from fastflow_contracts.pipelines.folder.examine import UNEXPECTED, Examined, examine
from fastflow_syncer.errors import SourceFailed
from fastflow_syncer.settings import SyncerSettings
from fastflow_syncer.sources.folder import FolderSource
from fastflow_syncer.sources.git import GitSource
from fastflow_syncer.sources.mirror import Mirror
from fastflow_syncer.sources.remote import Credentials, remote
from fastflow_syncer.sources.source import Source
from tests.git_repository import Repository
from tests.support.command import fastflow
from tests.support.corruption import NONSENSE, TYPELESS
from tests.support.profile import lasting

TREES: Final = lasting(4, long=100)
READ: Final = (
    *("main.py", "main.ipynb", "pipeline.json", "etl.json", "requirements.txt", "requirements.txt.lock"),
    *("pyproject.toml", "uv.lock", "uv.toml", ".python-version", ".gitattributes", ".gitignore", "lib/setup.py"),
)
"""Files that somebody reads."""


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def a_device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:  # only root may; a pipe is as odd
        os.mkfifo(path)


MAKERS: Final[dict[str, Callable[[Path], None]]] = {
    "a pipe": os.mkfifo,
    "a socket": a_socket,
    "a device": a_device,
    "a folder": lambda path: path.mkdir(),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "zero bytes": lambda path: path.write_bytes(b"\0" * 100_000) and None,
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe\xfd" * 1000) and None,
}


async def examined(source: Source) -> dict[str, Examined | None]:
    """What the syncer finds, by folder."""
    snapshot = await source.snapshot()
    found = {}
    for name in snapshot.fingerprints:
        found[name] = examine(name, await source.read(snapshot, name), is_known=True)
    return found


def check_all(found: dict[str, Examined | None]) -> None:
    for each in found.values():
        if each is not None:
            assert (each.found.version is None) == bool(each.found.problems)
            assert not any(UNEXPECTED in str(problem) for problem in each.found.problems)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("name", [name for name in READ if "/" not in name])
async def test_anything_in_the_place_of_a_file_is_a_problem_or_is_passed_over(
    kind: str, name: str, tmp_path: Path
) -> None:
    """Of its own pipeline alone: the other one stays good."""
    for folder in ("etl", "good"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "main.py").write_text("print(1)\n")
    (tmp_path / "etl" / name).unlink(missing_ok=True)
    MAKERS[kind](tmp_path / "etl" / name)
    by_syncer = await examined(FolderSource(tmp_path))
    check_all(by_syncer)
    checked = await asyncio.to_thread(check, tmp_path, SyncerSettings())
    by_validate = {where.name: found for where, found in checked}
    assert by_validate["good"].version is not None
    etl = by_syncer["etl"]
    if "etl" in by_validate and etl is not None:
        assert [str(each) for each in by_validate["etl"].problems] == [str(each) for each in etl.found.problems]
    if name == "main.py" and kind not in ("a folder", "zero bytes", "not UTF-8"):
        assert etl is not None
        assert etl.found.problems


@pytest.mark.simulation
async def test_any_git_tree_is_read(tmp_path: Path) -> None:
    """Files of random content and names, with links, submodules, odd modes and attributes."""
    seed = int(os.environ.get("FASTFLOW_SEED") or random.randrange(10**9))
    print(f"FASTFLOW_SEED={seed}")
    dice = random.Random(seed)
    repository = Repository(tmp_path / "origin")
    home = tmp_path / "home"
    home.mkdir()
    source = GitSource(Mirror(remote(repository.url, "main"), Credentials(), home), "x", subdir="", interval_s=60.0)
    for _ in range(TREES):
        commit(repository, tree(repository, dice, depth=0))
        with suppress(SourceFailed):  # the whole tree is refused, in the report of the sync
            check_all(await examined(source))
    shutil.rmtree(home)


def tree(repository: Repository, dice: random.Random, *, depth: int) -> str:
    """Store a random tree, and return its hash."""
    entries: dict[bytes, bytes] = {}
    for _ in range(dice.randrange(1, 9)):
        name, what = entry_name(dice), dice.random()
        if what < 0.35 and depth < 6:
            entries[name] = b"40000 %s\0" % name + bytes.fromhex(tree(repository, dice, depth=depth + 1))
        elif what < 0.45:
            entries[name] = b"160000 %s\0" % name + dice.randbytes(20)
        elif what < 0.55:
            target = dice.choice((b"main.py", b"../etl/main.py", b"/etc/passwd", b"..", b"\xff", b"a" * 5_000))
            entries[name] = b"120000 %s\0" % name + stored(repository, "blob", target)
        else:
            mode = dice.choice((b"100644", b"100755"))
            entries[name] = b"%s %s\0" % (mode, name) + stored(repository, "blob", content(dice))
    # git sorts folders as if their names ended with a slash
    data = b"".join(entries[name] for name in sorted(entries, key=lambda n: n + b"/" if entries[n][:1] == b"4" else n))
    return stored(repository, "tree", data).hex()


def entry_name(dice: random.Random) -> bytes:
    odd = (
        b"etl",
        b"good",
        b"\xff\xfe",
        "ü".encode(),
        b"a" * 250,
        b"with space",
        b"-x",
        b"~",
        b"\x1b[31m",
        b"CON",
        b".hidden",
    )
    return dice.choice((*(name.rpartition("/")[2].encode() for name in READ), *odd))


def content(dice: random.Random) -> bytes:
    nonsense = repr(dice.choice(NONSENSE)).encode("utf-8", "surrogatepass")
    good = (
        b"print(1)\n",
        b"{}",
        b'{"type": "notebook"}',
        b'{"nbformat": 4, "cells": []}',
        b"* filter=lfs\n",
        b"rich\n",
    )
    return dice.choice((dice.choice(TYPELESS), nonsense, dice.randbytes(dice.randrange(300)), *good))


def stored(repository: Repository, kind: str, data: bytes) -> bytes:
    """Store an object as it is, and return its hash."""
    command = ["git", "hash-object", "-t", kind, "-w", "--stdin", "--literally"]
    done = subprocess.run(command, cwd=repository.path, input=data, capture_output=True, check=True)
    return bytes.fromhex(done.stdout.decode().strip())


def commit(repository: Repository, root: str) -> None:
    repository.git("update-ref", "refs/heads/main", repository.git("commit-tree", root, "-m", "odd"))


async def test_validate_names_the_notebook_that_is_not_utf8(tmp_path: Path) -> None:
    """Once a traceback, and a pipeline that was not there."""
    (tmp_path / "report").mkdir()
    text = (
        b'{"nbformat": 4, "metadata": {}, "cells": [{"cell_type": "code", "source": "pr\xffint(1)", "metadata": {}}]}'
    )
    (tmp_path / "report" / "main.ipynb").write_bytes(text)
    (tmp_path / "report" / "pipeline.json").write_text('{"type": "notebook"}')
    done = await asyncio.to_thread(fastflow, "validate", ".", cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr, "unexpected error" in done.stderr) == (1, False, False)
    assert "main.ipynb: It is not UTF-8 text (line 1)" in done.stdout
    found = (await examined(FolderSource(tmp_path)))["report"]
    assert found is not None
    assert "not UTF-8" in str(found.found.problems[0])
