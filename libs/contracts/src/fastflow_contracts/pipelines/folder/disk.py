"""Reads the folders of pipelines from a file system while others may write to it. I/O, blocking: use a thread.

It follows no link, not even one that appears during the read: ``links`` says which file a link stands for. The files
returned are unchanged from before the read to after it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
import uuid
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from fastflow_contracts.pipelines.folder import bundle
from fastflow_contracts.pipelines.folder.bundle import File, Refusal
from fastflow_contracts.pipelines.folder.limits import DEFAULT, FolderLimits
from fastflow_contracts.pipelines.folder.links import follow
from fastflow_contracts.pipelines.folder.selection import (
    FOLDERS_MAX,
    STRAY_ENTRIES,
    STRAY_ENTRY,
    Folder,
    ReadingPlan,
    plan,
    skipped_child,
)
from fastflow_contracts.pipelines.folder.walk import EntryStat, opened, stat_of

READ_TRIES: Final = 5
READ_PAUSE_S: Final = 0.05
CLOCK_GRAIN_NS: Final = 2_000_000_000
"""Resolution of the coarsest file system clock in use."""

_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Children(NamedTuple):
    """The children of a root that are, or look like, folders of pipelines."""

    folders: tuple[str, ...]
    """Names; one that is not UTF-8 is escaped."""
    ignored: Mapping[str, str]
    """Reasons by name for children that look like folders but are not."""


def children(root: Path) -> Children:
    """List the folders in *root*: those of pipelines and others. One more than ``FOLDERS_MAX`` at most.

    Raises:
        OSError: *root* cannot be read.
    """
    folders: list[str] = []
    ignored: dict[str, str] = {}
    with os.scandir(root) as entries:
        for entry in entries:
            if skipped_child(entry.name):
                continue
            if entry.name in STRAY_ENTRIES and entry.is_file():
                ignored[entry.name] = STRAY_ENTRY
            if entry.is_symlink() and not entry.is_file():
                ignored[_readable(entry.name)] = "is a link, which is not followed; put the folder there."
            elif entry.is_dir(follow_symlinks=False):
                folders.append(_readable(entry.name))
            if len(folders) > FOLDERS_MAX:
                break
    return Children(tuple(sorted(folders)), ignored)


def _readable(name: str) -> str:
    """Return the name, escaped if it is not UTF-8, as in git. No valid name has a backslash."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return bundle.shown(name)
    return name


def fingerprint(folder: Path, limits: FolderLimits = DEFAULT) -> str:
    """Return a hash of the paths, sizes, times and inodes in the folder. Equal fingerprints mean equal content."""
    try:
        stats = _stats(folder, limits)
    except OSError as error:
        return f"unreadable: {error.errno}"
    # Not settled: a second write within the resolution of the clock would look the same.
    youngest_ns = time.time_ns() - CLOCK_GRAIN_NS
    unsettled = uuid.uuid4().hex if any(s.modified_ns >= youngest_ns for s in stats.values()) else ""
    return hashlib.sha256(repr((unsettled, sorted(stats.items()))).encode("utf-8", "surrogateescape")).hexdigest()


def read(folder: Path, limits: FolderLimits = DEFAULT) -> Folder:
    """Read the files of a folder as they were at one moment. Blocking; unreadable files become refusals."""
    why = Refusal("", "keeps changing; it is read again at its next change")
    for _ in range(READ_TRIES):
        try:
            stats = _stats(folder, limits)
            planned, sources = _plan(stats, limits)
            wanted = {path: sources.get(path, path) for path in planned.paths}
            contents = _contents(folder, {source: stats[source] for source in wanted.values()})
            if _stats(folder, limits) == stats and contents.keys() == set(wanted.values()):
                return Folder({path: contents[source] for path, source in wanted.items()}, planned.refusals)
        except OSError as error:
            path = bundle.shown(os.fsdecode(error.filename or ""))
            why = Refusal(path, f"cannot be read: {error.strerror}; check its owner and mode")
        time.sleep(READ_PAUSE_S)
    return Folder({}, (why,))


def _plan(stats: dict[str, EntryStat], limits: FolderLimits) -> tuple[ReadingPlan, Mapping[str, str]]:
    """Return the plan, and the source of each path that exists through a link."""
    sizes_bytes = {path: found.size_bytes for path, found in stats.items() if found.travels}
    links = {path: found.target for path, found in stats.items() if found.target is not None}
    if len(stats) > limits.files:
        # Not all entries are known, so that a link could seem to name nothing. It counts as a file: that is too many.
        sizes_bytes |= dict.fromkeys(links, 0)
        links = {}
    followed = follow(sizes_bytes, links, paths_max=limits.files)
    refused = tuple(
        Refusal(bundle.shown(path), f"is {_kind(found.mode)}; only readable files and folders can be in a bundle")
        for path, found in sorted(stats.items())
        if not found.travels and found.target is None
    )
    sizes_bytes |= {path: stats[source].size_bytes for path, source in followed.sources.items()}
    return plan(sizes_bytes, (*followed.refusals, *refused), limits), followed.sources


def _stats(folder: Path, limits: FolderLimits) -> dict[str, EntryStat]:
    """Entries to bundle, links, and folders that cannot be opened; at most one more than the limit."""
    with opened(folder) as found:
        return {each.path: each.stat for each in islice(found, limits.files + 1)}


def _contents(folder: Path, expected: dict[str, EntryStat]) -> dict[str, File]:
    """Read the files that still match *expected*, unchanged before and after the read."""
    files: dict[str, File] = {}
    with opened(folder) as found:
        for each in found:
            if expected.get(each.path) != each.stat:
                continue
            if each.stat.is_empty_folder:
                files[each.path] = File(b"")
                continue
            try:
                descriptor = os.open(each.name, _FILE_FLAGS, dir_fd=each.directory)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise OSError(error.errno, error.strerror, each.path) from error
            with open(descriptor, "rb") as file:
                data = file.read(each.stat.size_bytes + 1)
                if len(data) == each.stat.size_bytes and stat_of(os.fstat(descriptor)) == each.stat:
                    files[each.path] = File(data, bool(each.stat.mode & 0o100))
    return files


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder that is nested too deep or cannot be opened"
    return "a device, socket or pipe"
