"""The folders that a job brings along: the end of its DATA becomes their files, without a copy in between.

Standard library only.
"""

from __future__ import annotations

import os

from .failure import SetupFailed, safe_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

FOLDERS = ".folders"
"""Below the directory for the job. A script finds its folders by their variables."""


class FolderDelivery:
    """Makes the folders of one job. Only this object writes there: no user code runs yet."""

    def __init__(self, folders: list[dict[str, Any]], work: str) -> None:
        """Set up the folders of a job. Nothing is written yet."""
        self.variables: dict[str, str] = {}
        """The path of each folder."""
        self._folders = folders
        self._root = os.path.join(work, FOLDERS)
        self._paths: list[str] = []
        self._files = self._planned()
        self._entry: dict[str, Any] | None = None
        self._file = -1
        self._missing_bytes = 0
        self._is_open = False
        self.complete = not folders
        """Whether every folder has all its files."""

    def open(self) -> None:
        """Make the folders. Of an earlier delivery, of which only a part arrived, nothing stays."""
        if self._is_open or not self._folders:
            return
        self._is_open = True
        if os.path.isdir(self._root):
            import shutil

            shutil.rmtree(self._root)
        os.mkdir(self._root, 0o755)
        for folder in self._folders:
            path = os.path.join(self._root, safe_name(folder["name"]))
            os.mkdir(path, 0o755)
            self.variables[folder["env"]] = path
        self._next()

    def take(self, data: bytes | memoryview) -> None:
        """Write the next bytes.

        Raises:
            SetupFailed: There are more than announced, or a path is not safe.
            OSError: They do not fit.
        """
        rest = memoryview(data)
        while rest:
            if self.complete:
                raise SetupFailed("the runner sent more bytes than it announced.")
            written = os.write(self._file, rest[: self._missing_bytes])
            rest = rest[written:]
            self._missing_bytes -= written
            if not self._missing_bytes:
                self._next()

    def close(self) -> None:
        """Give up: the rest will not arrive."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _planned(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        for folder in self._folders:
            for entry in folder["files"]:
                yield folder, entry

    def _next(self) -> None:
        """Finish the current file and open the next one that has bytes."""
        while not self._missing_bytes:
            self._finish()
            folder, self._entry = next(self._files, ({}, None))
            if self._entry is None:
                self._lock()
                self.complete = True
                return
            path = self._entry["path"]
            parts = path.split("/")
            if any(part in ("", ".", "..") or "\0" in part for part in parts):
                raise SetupFailed(f"{path!r} is not a safe path.")
            full = os.path.join(self._root, folder["name"], *parts)
            os.makedirs(os.path.dirname(full), 0o755, exist_ok=True)
            self._file = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            mode = 0o755 if self._entry["is_executable"] else 0o644
            os.fchmod(self._file, mode if folder["is_writable"] else mode & 0o555)
            self._missing_bytes = self._entry["size_bytes"]

    def _finish(self) -> None:
        if self._file < 0 or self._entry is None:
            return
        if modified_ns := self._entry["modified_ns"]:
            os.utime(self._file, ns=(modified_ns, modified_ns))
        self.close()

    def _lock(self) -> None:
        """Take away the right to write in the folders that are not writable."""
        for folder in self._folders:
            if not folder["is_writable"]:
                path = os.path.join(self._root, folder["name"])
                for here, _, _ in os.walk(path, topdown=False):
                    os.chmod(here, 0o555)  # noqa: S103 - everybody may read it, nobody write
