"""Pipelines from a mounted folder: what is read of it, and how soon a change shows."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fastflow_contracts.pipelines.folder import disk
from fastflow_contracts.pipelines.folder.bundle import File
from fastflow_contracts.pipelines.folder.limits import DEFAULT
from fastflow_contracts.pipelines.folder.selection import Folder
from fastflow_syncer.errors import SourceFailed
from fastflow_syncer.sources.folder import FolderSource

SEEN_S = 30.0
"""Only a hang takes this long. No rescan comes within it, so a change that is seen was reported."""


def _write(root: Path, name: str, text: str = "x") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


async def test_regular_files_are_read_and_the_rest_is_skipped(tmp_path: Path) -> None:
    """Caches, environments and files of editors are left out."""
    for name in ("main.py", "lib/deep/x.py", ".dlt/config.toml", ".env.example", "n\u00e4me \u4f60.txt"):
        _write(tmp_path / "etl", name, name)
    for name in (".venv/x", "__pycache__/y.pyc", "lib/.git/config", "main.py~", ".main.py.swp", "lib/.#x.py", "4913"):
        _write(tmp_path / "etl", name)
    (tmp_path / "etl/main.py").chmod(0o755)
    _write(tmp_path, ".hidden/main.py")
    _write(tmp_path, "__pycache__/main.py")
    _write(tmp_path, "file.txt")
    source = FolderSource(tmp_path)
    snapshot = await source.snapshot()
    assert set(snapshot.fingerprints) == {"etl"}
    assert snapshot.commit is None
    assert await source.read(snapshot, "etl") == Folder(
        {
            "main.py": File(b"main.py", executable=True),
            "lib/deep/x.py": File(b"lib/deep/x.py"),
            ".dlt/config.toml": File(b".dlt/config.toml"),
            ".env.example": File(b".env.example"),
            "n\u00e4me \u4f60.txt": File("n\u00e4me \u4f60.txt".encode()),
        }
    )


async def test_links_and_devices_are_not_followed(tmp_path: Path) -> None:
    """A link, a pipe or a socket is a refusal with its path; so is a link in the place of a folder."""
    _write(tmp_path, "etl/main.py", "print(1)")
    (tmp_path / "etl/passwd").symlink_to("/etc/passwd")
    (tmp_path / "etl/up").symlink_to("..")
    os.mkfifo(tmp_path / "etl/pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "etl/socket"))
    (tmp_path / "linked").symlink_to("etl")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "README.md").symlink_to("etl/main.py")
    source = FolderSource(tmp_path)
    snapshot = await source.snapshot()
    folder = await source.read(snapshot, "etl")
    assert {r.path for r in folder.refusals} == {"passwd", "up", "pipe", "socket"}
    assert folder.files == {"main.py": File(b"print(1)")}
    assert set(snapshot.ignored) == {"linked", "dangling"}


async def test_caps_hold_before_anything_is_read(tmp_path: Path) -> None:
    """A sparse file of a gigabyte and very many files cost nothing."""
    _write(tmp_path, "etl/main.py")
    with open(tmp_path / "etl/data.bin", "wb") as file:
        file.truncate(1024**3)
    folder = await asyncio.to_thread(disk.read, tmp_path / "etl")
    assert [r.path for r in folder.refusals] == ["", "data.bin"]
    for number in range(DEFAULT.files + 1):
        _write(tmp_path, f"crowd/{number}")
    folder = await asyncio.to_thread(disk.read, tmp_path / "crowd")
    assert "2,000 files" in str(folder.refusals[0])


async def test_a_folder_that_always_changes_is_refused(tmp_path: Path) -> None:
    """If two files change together, the source reads one state of both, or nothing."""
    etl = tmp_path / "etl"
    _write(etl, "a", "0" * 1000)
    _write(etl, "main.py", "")
    stop = threading.Event()

    def restless() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            (etl / "a").write_text(str(number % 10) * (1000 + number % 3))

    writer = threading.Thread(target=restless, name="writer")
    writer.start()
    try:
        for _ in range(5):
            folder = await asyncio.to_thread(disk.read, etl)
            if folder.refusals:
                assert "keeps changing" in str(folder.refusals[0])
                assert folder.files == {}
            else:
                assert len(set(folder.files["a"].data)) <= 1
    finally:
        stop.set()
        writer.join()
    assert (await asyncio.to_thread(disk.read, etl)).refusals == ()


async def test_a_fingerprint_shows_every_change(tmp_path: Path) -> None:
    """Equal ones mean equal content. A file that was just written has none yet."""
    _write(tmp_path, "etl/main.py", "one")
    assert disk.fingerprint(tmp_path / "etl") != disk.fingerprint(tmp_path / "etl")
    os.utime(tmp_path / "etl/main.py", (1, 1))
    settled = disk.fingerprint(tmp_path / "etl")
    assert disk.fingerprint(tmp_path / "etl") == settled
    _write(tmp_path, "etl/main.py", "two")
    os.utime(tmp_path / "etl/main.py", (2, 2))
    assert disk.fingerprint(tmp_path / "etl") != settled


async def test_a_missing_root_is_an_error(tmp_path: Path) -> None:
    """It is not an empty folder: nothing may count as removed."""
    with pytest.raises(SourceFailed, match="PIPELINES_DIR"):
        await FolderSource(tmp_path / "nowhere").snapshot()
    assert (await FolderSource(tmp_path).snapshot()).fingerprints == {}


class Watched:
    """What a source shows at each reported change, and a way to wait for it."""

    def __init__(self, source: FolderSource) -> None:
        self.source = source
        self.looks = 0
        self._shown: dict[str, bytes] = {}
        self._look = asyncio.Condition()

    async def watch(self) -> None:
        """Read every file at every change, as the syncer does."""
        async for _ in self.source.changes():
            shown: dict[str, bytes] = {}
            with contextlib.suppress(SourceFailed):
                snapshot = await self.source.snapshot()
                for name in snapshot.fingerprints:
                    files = (await self.source.read(snapshot, name)).files
                    shown |= {f"{name}/{path}": file.data for path, file in files.items()}
            async with self._look:
                self.looks += 1
                self._shown = shown
                self._look.notify_all()

    async def settled(self) -> None:
        """Wait for the first look, and for the one that follows the start of the watch."""
        async with asyncio.timeout(30), self._look:
            await self._look.wait_for(lambda: self.looks >= 2)

    async def sees(self, name: str, content: bytes | None, *, file: str = "main.py") -> None:
        """Wait until a look shows this content of ``name/file``, or that it is gone; fail after ``SEEN_S``."""
        async with asyncio.timeout(SEEN_S), self._look:
            await self._look.wait_for(lambda: self._shown.get(f"{name}/{file}") == content)


@pytest_asyncio.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    """A watched root ``tmp_path/root`` that may not exist yet."""
    watched = Watched(FolderSource(tmp_path / "root", rescan_s=3600))
    task = asyncio.create_task(watched.watch(), name="watch")
    yield watched
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_changes_show_by_themselves(tmp_path: Path, watched: Watched) -> None:
    """A new folder, a saved file, a file replaced by renaming, and a removed folder are each seen in time."""
    root = tmp_path / "root"
    root.mkdir()
    await watched.settled()
    _write(root, "etl/main.py", "one")
    await watched.sees("etl", b"one")
    _write(root, "etl/main.py", "two")
    await watched.sees("etl", b"two")
    _write(root, "etl/main.py.new", "three")
    (root / "etl/main.py.new").rename(root / "etl/main.py")
    await watched.sees("etl", b"three")
    (root / "etl").rename(root / "other")
    await watched.sees("other", b"three")
    shutil.rmtree(root / "other")
    await watched.sees("other", None)


async def test_changes_in_a_folder_of_settings_show(tmp_path: Path, watched: Watched) -> None:
    """Even though its name begins with a dot."""
    root = tmp_path / "root"
    _write(root, "etl/main.py")
    await watched.settled()
    for text in ("one", "two"):
        _write(root, "etl/.dlt/config.toml", text)
        await watched.sees("etl", text.encode(), file=".dlt/config.toml")


async def test_files_of_editors_are_not_a_change(tmp_path: Path, watched: Watched) -> None:
    """Swap files and caches cause no look; the next real change does."""
    root = tmp_path / "root"
    _write(root, "etl/main.py", "one")
    await watched.settled()
    before = watched.looks
    _write(root, "etl/.main.py.swp")
    _write(root, "etl/__pycache__/main.pyc")
    _write(root, "other/main.py", "two")
    await watched.sees("other", b"two")
    assert watched.looks - before <= 2


async def test_the_root_may_come_later_and_be_replaced(tmp_path: Path, watched: Watched) -> None:
    """Created after the start, renamed, put back, and replaced behind a link: each time it is watched again."""
    root = tmp_path / "root"
    _write(tmp_path, "first/etl/main.py", "first")
    _write(tmp_path, "second/etl/main.py", "second")
    (tmp_path / "first").rename(root)
    await watched.sees("etl", b"first")
    root.rename(tmp_path / "first")
    await watched.sees("etl", None)
    root.symlink_to("first")
    await watched.sees("etl", b"first")
    (tmp_path / "link").symlink_to("second")
    (tmp_path / "link").replace(root)
    await watched.sees("etl", b"second")
    _write(tmp_path, "second/etl/main.py", "third")
    await watched.sees("etl", b"third")


async def test_a_release_that_is_swapped_in_by_mv_is_seen(tmp_path: Path, watched: Watched) -> None:
    """The root is a link, such as ``current``, and each release its own folder: many deployments do it so."""
    _write(tmp_path, "releases/1/etl/main.py", "one")
    _write(tmp_path, "releases/2/etl/main.py", "two")
    for release, content in (("1", b"one"), ("2", b"two"), ("1", b"one")):
        (tmp_path / "next").symlink_to(f"releases/{release}")
        subprocess.run(["mv", "-T", "next", "root"], cwd=tmp_path, check=True)
        await watched.sees("etl", content)


NO_INOTIFY = """
import asyncio, ctypes, sys
from pathlib import Path
if ctypes.CDLL(None).unshare(0x1000_0000):  # CLONE_NEWUSER: limits of one's own
    raise SystemExit(77)
Path("/proc/sys/user/max_inotify_instances").write_text("0")
from fastflow_contracts.service.logging import set_up_logging
from fastflow_syncer.sources.folder import FolderSource
set_up_logging()
root = Path(sys.argv[1])

async def main():
    source = FolderSource(root, rescan_s=0.05)
    looks = 0
    async for _ in source.changes():
        looks += 1
        (root / f"p{looks}").mkdir()
        if len((await source.snapshot()).fingerprints) == 4:
            return

asyncio.run(asyncio.wait_for(main(), 20))
"""


def test_without_a_watch_the_folder_is_checked_regularly(tmp_path: Path) -> None:
    """All inotify instances of the host are in use: the log says so once, with the setting to raise, and changes
    show.
    """
    done = subprocess.run(
        [sys.executable, "-c", NO_INOTIFY, tmp_path], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode == 77:
        pytest.skip("only root may limit what is watched on this machine")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Too many open files") == 1
    assert done.stderr.count("fs.inotify.max_user_instances") == 1
