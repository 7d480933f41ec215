"""Walks a folder while others may write to it. I/O, blocking: use a thread.

Each entry comes with its open directory. No path is resolved twice, so no link can be swapped in.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
from collections.abc import Generator, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from fastflow_contracts.pipelines.folder.bundle import PATH_BYTES_MAX
from fastflow_contracts.pipelines.folder.limits import CEILING
from fastflow_contracts.pipelines.folder.selection import (
    is_environment,
    skipped,
    skipped_folder,
    telling_first,
    without_own_environment,
)

_NAMES_MAX: Final = 10 * CEILING.files
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC


class EntryStat(msgspec.Struct, frozen=True):
    """The properties that show whether a file changed."""

    mode: int
    size_bytes: int
    modified_ns: int
    inode: int
    target: str | None = None
    """The text of a link."""
    is_empty_folder: bool = False

    @property
    def travels(self) -> bool:
        return stat.S_ISREG(self.mode) or self.is_empty_folder


class FolderEntry(NamedTuple):
    """An entry below a folder, with its open directory."""

    path: str
    name: str
    directory: int
    stat: EntryStat


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Iterator[FolderEntry]]:
    """Yield the entries below *folder*; none if it does not exist. Raises ``OSError``."""
    try:
        directory = os.open(folder, _FOLDER_FLAGS)
    except FileNotFoundError:
        yield iter(())
        return
    except OSError as error:
        raise OSError(error.errno, error.strerror, "") from error
    try:
        with contextlib.closing(_walk(directory, "", str(folder))) as found:
            yield found
    finally:
        os.close(directory)


def _walk(directory: int, prefix: str, root: str) -> Generator[FolderEntry, None, None]:
    with os.scandir(directory) as entries:
        names = sorted(entry.name for entry in islice(entries, _NAMES_MAX))
    if not prefix:
        names = telling_first(without_own_environment(names))
    elif is_environment(names):
        return
    is_empty = True
    for name in names:
        path = prefix + name
        try:
            found = FolderEntry(path, name, directory, _entry_stat(name, directory, path, root))
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(found.stat.mode):
            if not skipped(path) and not (found.stat.target is not None and skipped_folder(name)):
                is_empty = False
                yield found
        elif not skipped_folder(name):
            try:
                below = os.open(name, _FOLDER_FLAGS, dir_fd=directory)
            except OSError:
                is_empty = False
                yield found
                continue
            try:
                if len(path) > PATH_BYTES_MAX:
                    is_empty = False
                    yield found
                else:
                    for inside in _walk(below, path + "/", root):
                        is_empty = False
                        yield inside
            finally:
                os.close(below)
    if prefix and is_empty:
        yield FolderEntry(
            prefix, "", directory, replace(stat_of(os.fstat(directory)), is_empty_folder=True, size_bytes=0)
        )


def _entry_stat(name: str, directory: int, path: str, root: str) -> EntryStat:
    found = stat_of(os.stat(name, dir_fd=directory, follow_symlinks=False))
    if not stat.S_ISLNK(found.mode):
        return found
    try:
        target = os.readlink(name, dir_fd=directory)
    except OSError as error:  # it is no link any more
        raise FileNotFoundError(error.errno, error.strerror, path) from error
    for above in (os.path.abspath(root), os.path.realpath(root)):
        if target.startswith(f"{above}/"):  # an absolute path into the folder
            target = posixpath.relpath(target.removeprefix(above), "/" + posixpath.dirname(path))
    return replace(found, target=target)


def stat_of(found: os.stat_result) -> EntryStat:
    return EntryStat(found.st_mode, found.st_size, found.st_mtime_ns, found.st_ino)
