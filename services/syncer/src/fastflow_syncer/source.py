"""The interface of a source of pipelines, and the rules for which files of a folder are bundled. Pure.

``folder`` and ``git`` implement ``Source``; the rest of the syncer does not distinguish them.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from datetime import datetime
from typing import Final, Protocol

import msgspec

from fastflow_contracts.pipelines import bundle
from fastflow_contracts.pipelines.bundle import File, Refusal

FOLDERS_MAX: Final = 5_000
"""Most child folders of a root; with more, the source fails."""

_TELLING: Final = frozenset({"main.py", "main.ipynb", "requirements.txt", "requirements.txt.lock"})
_TELLING_FILES_MAX: Final = 20
_TELLING_BYTES_MAX: Final = 1024 * 1024
_SKIPPED_FILE: Final = re.compile(
    r".*~|#.*#|\.#.*|\..*\.sw[a-z]|4913|.*___jb_(tmp|old)___|.*\.py[co]|\.DS_Store|\.git", re.DOTALL
)
# Scripts may read other folders that begin with a dot, such as `.dlt` and `.streamlit`.
_SKIPPED_FOLDERS: Final = frozenset(
    (
        *(".git", ".hg", ".svn", ".idea", ".vscode", ".history", ".ipynb_checkpoints", ".fastflow"),
        *("__pycache__", ".cache", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis"),
        *(".venv", ".env", ".direnv", ".tox", ".nox", ".eggs"),
    )
)


class Commit(msgspec.Struct, frozen=True):
    """One commit of a repository."""

    hash: str
    authored_at: datetime | None
    """None if the commit has no valid time."""
    subject: str


class Snapshot(msgspec.Struct, frozen=True):
    """The child folders of the root at one moment. Equal fingerprints mean equal content."""

    commit: Commit | None
    fingerprints: Mapping[str, str]
    ignored: Mapping[str, str] = {}
    """Reasons by name for children that look like folders but are not."""


class Folder(msgspec.Struct, frozen=True):
    """The files of one child folder by relative path.

    With refusals it cannot be bundled, and ``files`` has only the files that define the pipeline.
    """

    files: Mapping[str, File]
    refusals: tuple[Refusal, ...] = ()


class Source(Protocol):
    """A source of pipelines. Calls must not overlap."""

    @property
    def label(self) -> str:
        """The folder or repository for messages, without credentials."""

    async def snapshot(self) -> Snapshot:
        """Take a snapshot of the source.

        Raises:
            SourceFailed: The source cannot be read now.
            SourceDamaged: The local copy was unusable; try again.
        """

    async def read(self, snapshot: Snapshot, name: str) -> Folder:
        """Read one folder of the newest snapshot. Raises the errors of ``snapshot``."""

    def changes(self) -> AsyncGenerator[None, None]:
        """Yield once at the start, then each time a new snapshot is due. Ends only when closed."""


class ReadingPlan(msgspec.Struct, frozen=True):
    """The paths of a folder to read, and the reasons against a bundle."""

    paths: tuple[str, ...]
    refusals: tuple[Refusal, ...]


def plan(sizes_bytes: Mapping[str, int], refused: tuple[Refusal, ...]) -> ReadingPlan:
    """Plan which files to read, from paths and sizes. *refused* are the refusals of the source itself."""
    found = (*refused[: bundle.REFUSALS_MAX], *bundle.refusals(sizes_bytes))
    if not found:
        return ReadingPlan(tuple(sorted(sizes_bytes)), ())
    telling = (
        path
        for path in sorted(sizes_bytes)
        if (path in _TELLING or ("/" not in path and path.endswith(".json")))
        and sizes_bytes[path] <= _TELLING_BYTES_MAX
        and bundle.unsafe(path) is None
    )
    return ReadingPlan(tuple(telling)[:_TELLING_FILES_MAX], found)


def skipped_child(name: str) -> bool:
    """Whether a child of the root with this name is always skipped."""
    return name.startswith(".") or name == "__pycache__"


def skipped(path: str) -> bool:
    """Whether a file with this path in a child is skipped: caches, environments and files of editors."""
    *folders, name = path.split("/")
    return any(map(skipped_folder, folders)) or _SKIPPED_FILE.fullmatch(name) is not None


def skipped_folder(name: str) -> bool:
    """Whether a folder with this name, at any depth in a child, is skipped."""
    return name in _SKIPPED_FOLDERS
