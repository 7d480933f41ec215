"""Reads the folders of pipelines from a file system while others may write to it. Edge; blocking: use a thread.

It follows no link, not even one that appears during the read. The files returned are unchanged from before the read
to after it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
import uuid
from collections.abc import Generator, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from fastflow_contracts.pipelines.folder import bundle
from fastflow_contracts.pipelines.folder.bundle import File, Refusal
from fastflow_contracts.pipelines.folder.selection import (
    FOLDERS_MAX,
    Folder,
    ReadingPlan,
    plan,
    skipped,
    skipped_child,
    skipped_folder,
)

READ_TRIES: Final = 5
READ_PAUSE_S: Final = 0.05
CLOCK_GRAIN_NS: Final = 2_000_000_000
"""Resolution of the coarsest file system clock in use."""

_NAMES_MAX: Final = 10 * bundle.FILES_MAX
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC


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


def fingerprint(folder: Path) -> str:
    """Return a hash of the paths, sizes, times and inodes in the folder. Equal fingerprints mean equal content."""
    try:
        stats = _stats(folder)
    except OSError as error:
        return f"unreadable: {error.errno}"
    # Not settled: a second write within the resolution of the clock would look the same.
    youngest_ns = time.time_ns() - CLOCK_GRAIN_NS
    unsettled = uuid.uuid4().hex if any(s.modified_ns >= youngest_ns for s in stats.values()) else ""
    return hashlib.sha256(repr((unsettled, sorted(stats.items()))).encode("utf-8", "surrogateescape")).hexdigest()


def read(folder: Path) -> Folder:
    """Read the files of a folder as they were at one moment. Blocking; unreadable files become refusals."""
    why = Refusal("", "keeps changing; it is read again at its next change")
    for _ in range(READ_TRIES):
        try:
            stats = _stats(folder)
            planned = _plan(stats)
            files = _contents(folder, {path: stats[path] for path in planned.paths})
            if _stats(folder) == stats and len(files) == len(planned.paths):
                return Folder(files, planned.refusals)
        except OSError as error:
            path = bundle.shown(os.fsdecode(error.filename or ""))
            why = Refusal(path, f"cannot be read: {error.strerror}; check its owner and mode")
        time.sleep(READ_PAUSE_S)
    return Folder({}, (why,))


def _plan(stats: dict[str, _Stat]) -> ReadingPlan:
    refused = tuple(
        Refusal(bundle.shown(path), f"is {_kind(found.mode)}; only readable files and folders can be in a bundle")
        for path, found in sorted(stats.items())
        if not found.regular
    )
    return plan({path: found.size_bytes for path, found in stats.items() if found.regular}, refused)


class _Stat(msgspec.Struct, frozen=True):
    """The properties that show whether a file changed."""

    mode: int
    size_bytes: int
    modified_ns: int
    inode: int

    @property
    def regular(self) -> bool:
        return stat.S_ISREG(self.mode)


class _Found(NamedTuple):
    """An entry below a folder, with its open directory. No path is resolved twice, so no link can be swapped in."""

    path: str
    name: str
    directory: int
    stat: _Stat


def _stats(folder: Path) -> dict[str, _Stat]:
    """Entries to bundle, and folders that cannot be opened; at most one more than the limit."""
    with _opened(folder) as found:
        return {each.path: each.stat for each in islice(found, bundle.FILES_MAX + 1)}


def _contents(folder: Path, expected: dict[str, _Stat]) -> dict[str, File]:
    """Read the files that still match *expected*, unchanged before and after the read."""
    files: dict[str, File] = {}
    with _opened(folder) as found:
        for each in found:
            if expected.get(each.path) != each.stat:
                continue
            try:
                descriptor = os.open(each.name, _FILE_FLAGS, dir_fd=each.directory)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise OSError(error.errno, error.strerror, each.path) from error
            with open(descriptor, "rb") as file:
                data = file.read(each.stat.size_bytes + 1)
                if len(data) == each.stat.size_bytes and _stat(os.fstat(descriptor)) == each.stat:
                    files[each.path] = File(data, bool(each.stat.mode & 0o100))
    return files


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[Iterator[_Found]]:
    try:
        directory = os.open(folder, _FOLDER_FLAGS)
    except FileNotFoundError:
        yield iter(())
        return
    except OSError as error:
        raise OSError(error.errno, error.strerror, "") from error
    try:
        with contextlib.closing(_walk(directory, "")) as found:
            yield found
    finally:
        os.close(directory)


def _walk(directory: int, prefix: str) -> Generator[_Found, None, None]:
    with os.scandir(directory) as entries:
        names = sorted(entry.name for entry in islice(entries, _NAMES_MAX))
    for name in names:
        path = prefix + name
        try:
            found = _Found(path, name, directory, _stat(os.stat(name, dir_fd=directory, follow_symlinks=False)))
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(found.stat.mode):
            if not skipped(path):
                yield found
        elif not skipped_folder(name):
            try:
                below = os.open(name, _FOLDER_FLAGS, dir_fd=directory)
            except OSError:
                yield found
                continue
            try:
                if len(path) > bundle.PATH_BYTES_MAX:
                    yield found
                else:
                    yield from _walk(below, path + "/")
            finally:
                os.close(below)


def _stat(found: os.stat_result) -> _Stat:
    return _Stat(found.st_mode, found.st_size, found.st_mtime_ns, found.st_ino)


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder that is nested too deep or cannot be opened"
    return "a link, which is not followed" if stat.S_ISLNK(mode) else "a device, socket or pipe"
