"""The folders that go back: what the script left in them, and the bytes of a file when the runner asks for them.

The script may have put anything there, under any name. Every step goes through the descriptor of the folder above and
follows no link, so nothing outside is ever read. A file with other names, also outside, is a file like any other: the
script could have copied it. Holes are read as the zeros that they are.

Standard library only. Imported at the end of a job that has such folders.
"""

from __future__ import annotations

import os
import stat

from .delivery import FOLDERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROBLEMS_MAX = 20
"""Of one folder; the others are counted."""

ENTRIES_MORE_MAX = 10_000
"""How many more entries than it may have files a folder is searched for."""

LISTING_BYTES_MAX = 4 * 1024 * 1024
"""Of all paths in one listing: it travels in one frame."""

SHOWN_LETTERS_MAX = 200

PART_BYTES_MAX = 1024 * 1024

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC

_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


class Collection:
    """What a script left in the folders of one job that go back."""

    def __init__(self, folders: list[dict[str, Any]], work: str) -> None:
        """Look into the folders. Never raises for what is in them."""
        self._work = work
        self._identities: dict[str, list[tuple[str, os.stat_result]]] = {}
        self._open: tuple[str, int, int] | None = None  # folder, number, descriptor
        self.listing: dict[str, dict[str, Any]] = {}
        """What can be fetched and what stays behind, by the folder's name: as EXIT has it."""
        self._listing_bytes = LISTING_BYTES_MAX
        for folder in folders:
            if folder["back"] is not None:
                self.listing[folder["name"]] = self._look(folder["name"], folder["back"])

    def part(self, folder: str, number: int, offset: int, size_bytes: int) -> tuple[bool, bytes]:
        """Return bytes of a file: True with all that were asked for, or False with the reason, as a sentence."""
        try:
            path, status = self._identities[folder][number]
            if not 0 <= offset <= offset + size_bytes <= status.st_size or size_bytes > PART_BYTES_MAX:
                raise LookupError
        except LookupError:
            return False, b"there are no such bytes."
        try:
            descriptor = self._descriptor(folder, number, path)
            data, found = os.pread(descriptor, size_bytes, offset), os.fstat(descriptor)
        except OSError as error:
            return False, f"{_shown(path)} cannot be read: {error.strerror}.".encode()
        if _identity(found) != _identity(status) or len(data) != size_bytes:
            return False, f"{_shown(path)} changed after the script had ended.".encode()
        return True, data

    def _descriptor(self, folder: str, number: int, path: str) -> int:
        """Open a file, or return its descriptor if it was the last one."""
        if self._open is not None:
            if self._open[:2] == (folder, number):
                return self._open[2]
            os.close(self._open[2])
            self._open = None
        *above, name = path.split("/")
        here = self._enter(folder)
        try:
            for part in above:
                inner = os.open(part, _FOLDER, dir_fd=here)
                os.close(here)
                here = inner
            self._open = folder, number, os.open(name, _FILE, dir_fd=here)
        finally:
            os.close(here)
        return self._open[2]

    def _enter(self, folder: str) -> int:
        """Open a folder of the job. Its own parents may be replaced as well."""
        work = os.open(self._work, _FOLDER)
        try:
            folders = os.open(FOLDERS, _FOLDER, dir_fd=work)
        finally:
            os.close(work)
        try:
            return os.open(folder, _FOLDER, dir_fd=folders)
        finally:
            os.close(folders)

    def _look(self, name: str, bounds: dict[str, int]) -> dict[str, Any]:
        search = _Search(bounds, self._listing_bytes)
        is_missing = False
        try:
            root = self._enter(name)
        except FileNotFoundError:
            is_missing = True
        except OSError:
            search.leave("the folder itself is not the one that the script got: it was replaced by something else.")
        else:
            try:
                search.walk(root, "", 1)
            finally:
                os.close(root)
        search.sum_up()
        found = self._identities[name] = sorted(search.found, key=lambda each: each[0])
        self._listing_bytes = search.listing_bytes
        return {
            "files": [
                {
                    "path": path,
                    "size_bytes": status.st_size,
                    "is_executable": bool(status.st_mode & 0o100),
                    "modified_ns": status.st_mtime_ns,
                }
                for path, status in found
            ],
            "problems": search.problems,
            "problems_total": search.problems_total,
            "is_missing": is_missing,
        }


class _Search:
    """One walk through a folder, within its bounds."""

    def __init__(self, bounds: dict[str, int], listing_bytes: int) -> None:
        self.found: list[tuple[str, os.stat_result]] = []
        self.problems: list[str] = []
        self.problems_total = 0
        self.listing_bytes = listing_bytes
        self._bounds = bounds
        self._entries_left = bounds["files_max"] + ENTRIES_MORE_MAX
        self._bytes_left = bounds["bytes_max"]
        self._too_many = 0

    def leave(self, problem: str) -> None:
        """Note what stays behind."""
        self.problems_total += 1
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(problem)

    def sum_up(self) -> None:
        """Note what was only counted."""
        if self._too_many:
            more = f"{self._too_many} more" if self._entries_left > 0 else "all others"
            self.leave(f"it holds more than {self._bounds['files_max']:,} files: {more} stay behind.")

    def walk(self, folder: int, prefix: str, depth: int) -> None:
        """Look at everything in an open folder. *depth*: 1 for the files of the folder itself."""
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    self._entries_left -= 1
                    if self._entries_left <= 0:
                        self._too_many += 1
                        return
                    self._consider(folder, entry.name, prefix + entry.name, depth)
        except OSError as error:
            self.leave(f"{_shown(prefix or '.')} cannot be read: {error.strerror}.")

    def _consider(self, folder: int, name: str, path: str, depth: int) -> None:
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if problem := self._problem_of_path(path):
                self.leave(f"{_shown(path)} {problem}.")
            elif stat.S_ISDIR(status.st_mode):
                self._descend(folder, name, path, depth)
            elif stat.S_ISREG(status.st_mode):
                self._take(path, status)
            else:
                kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
                self.leave(f"{_shown(path)} is {kind}; only regular files are kept.")
        except FileNotFoundError:
            pass  # it went a moment ago
        except OSError as error:
            self.leave(f"{_shown(path)} cannot be read: {error.strerror}.")

    def _descend(self, folder: int, name: str, path: str, depth: int) -> None:
        if depth >= self._bounds["depth_max"]:
            self.leave(f"{_shown(path)} lies deeper than {self._bounds['depth_max']} folders.")
            return
        inner = os.open(name, _FOLDER, dir_fd=folder)
        try:
            self.walk(inner, f"{path}/", depth + 1)
        finally:
            os.close(inner)

    def _problem_of_path(self, path: str) -> str:
        try:
            size_bytes = len(path.encode())
        except UnicodeEncodeError:
            return "has a name that is not UTF-8"
        if any(ord(letter) < 32 or 127 <= ord(letter) < 160 or letter in "\u2028\u2029" for letter in path):
            return "has a control character in its name"
        if size_bytes > self._bounds["path_bytes_max"]:
            return f"has a path of more than {self._bounds['path_bytes_max']:,} bytes"
        return ""

    def _take(self, path: str, status: os.stat_result) -> None:
        size_bytes = len(path.encode())
        if len(self.found) >= self._bounds["files_max"] or size_bytes > self.listing_bytes:
            self._too_many += 1
        elif status.st_size > self._bytes_left:
            self.leave(
                f"{_shown(path)} ({status.st_size:,} bytes) does not fit any more: "
                f"all files together may have {self._bounds['bytes_max']:,} bytes."
            )
        else:
            self.found.append((path, status))
            self._bytes_left -= status.st_size
            self.listing_bytes -= size_bytes


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _shown(path: str) -> str:
    """Return a path as text, whatever it holds."""
    shown = repr(path)
    return shown if len(shown) <= SHOWN_LETTERS_MAX else f"{shown[:SHOWN_LETTERS_MAX]}…"
