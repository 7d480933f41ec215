"""A ``Source`` of pipelines from a mounted folder, which it watches. I/O: the file system.

The root may be a link (some mounts swap it), may appear later, and may be replaced. ``disk`` reads one child folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import stat
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

from watchfiles import awatch

from fastflow_contracts.log import get_logger
from fastflow_contracts.pipelines.folder import disk
from fastflow_contracts.pipelines.folder.limits import DEFAULT, FolderLimits
from fastflow_contracts.pipelines.folder.selection import FOLDERS_MAX, Folder, skipped, skipped_child
from fastflow_contracts.service.parts import leaves
from fastflow_syncer.errors import SourceFailed
from fastflow_syncer.sources.source import Snapshot

log = get_logger(__name__)

DEBOUNCE_MS: Final = 150
"""A change is reported after this time without another one, so that saving many files is one change."""
DEBOUNCE_MS_MAX: Final = 1_000
"""Longest delay after the first of several changes."""
ROOT_CHECK_S: Final = 0.5
"""Pause between two checks that the watched root is still the root."""
RESCAN_S: Final = 30.0
"""Pause between two rescans, for file systems that do not report changes."""
ADVICE: Final = "if too many files are open, raise fs.inotify.max_user_instances on the host with sysctl"


class FolderSource:
    """The child folders of one directory. There are no commits."""

    def __init__(self, root: Path, *, limits: FolderLimits = DEFAULT, rescan_s: float = RESCAN_S) -> None:
        self._root = root
        self._limits = limits
        self._rescan_s = rescan_s

    @property
    def label(self) -> str:
        return str(self._root)

    @property
    def branch(self) -> None:
        return None

    async def snapshot(self) -> Snapshot:
        """List the child folders. A fingerprint is a hash of the paths, sizes, times and inodes below."""
        return await asyncio.to_thread(_snapshot, self._root, self._limits)

    async def read(self, snapshot: Snapshot, name: str) -> Folder:
        """Read one folder as it is now. Devices, and links out of it, become refusals."""
        return await asyncio.to_thread(disk.read, self._root / name, self._limits)

    async def changes(self) -> AsyncGenerator[None, None]:
        """Yield immediately, after changes of the root or below it, and every ``rescan_s`` seconds.

        A root that cannot be watched is only rescanned.
        """
        is_logged = False
        while True:
            yield
            while (identity := _identity(self._root)) is None:  # noqa: ASYNC110 - there is no event
                # A missing folder sends no events.
                await asyncio.sleep(ROOT_CHECK_S)
            try:
                async with contextlib.aclosing(self._watch(identity)) as watch:
                    async for _ in watch:
                        is_logged = False
                        yield
            except* (OSError, RuntimeError) as errors:  # errors while it waits arrive in a group
                if not is_logged:
                    log.warning(
                        "folder not watched",
                        folder=str(self._root),
                        rescan_s=self._rescan_s,
                        error=str(leaves(errors)[0]),
                        advice=ADVICE,
                    )
                is_logged = True
                await asyncio.sleep(self._rescan_s)

    async def _watch(self, identity: tuple[int, int]) -> AsyncGenerator[None, None]:
        """Yield after changes below the root, until the root is removed or replaced."""
        loop = asyncio.get_running_loop()
        root = self._root.resolve()
        # Changes before the watch starts send no event: rescan as soon as it is active.
        look_at = loop.time()
        watch = awatch(
            root,
            watch_filter=lambda _, path: _matters(root, path),
            debounce=DEBOUNCE_MS_MAX,
            step=DEBOUNCE_MS,
            rust_timeout=int(ROOT_CHECK_S * 1000),
            yield_on_timeout=True,
            ignore_permission_denied=True,
        )
        with contextlib.suppress(FileNotFoundError):
            async with contextlib.aclosing(watch):
                async for changes in watch:
                    if _identity(self._root) != identity:
                        return
                    if changes or loop.time() >= look_at:
                        look_at = loop.time() + self._rescan_s
                        yield


def _identity(root: Path) -> tuple[int, int] | None:
    try:
        found = root.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISDIR(found.st_mode) else None


def _matters(root: Path, path: str) -> bool:
    try:
        child, *inside = Path(path).relative_to(root).parts
    except ValueError:  # the root itself, or outside it
        return True
    return not skipped_child(child) and not skipped("/".join(inside or [child]))


def _snapshot(root: Path, limits: FolderLimits) -> Snapshot:
    try:
        found = disk.children(root)
    except OSError as error:
        raise SourceFailed(f"{root} cannot be read: {error.strerror}; check PIPELINES_DIR.") from error
    if len(found.folders) > FOLDERS_MAX:
        raise SourceFailed(f"{root}: more than {FOLDERS_MAX:,} folders; PIPELINES_DIR is wrong.")
    return Snapshot(None, {name: disk.fingerprint(root / name, limits) for name in found.folders}, found.ignored)
