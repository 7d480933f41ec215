"""What a source of pipelines is, and which of a folder's files travel. Pure.

A folder and a git repository are both a ``Source``; the rest of the syncer does not know which it has.
Reading them is ``folder``'s and ``git``'s.
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
"""Child folders of a root; more are an error of the source."""

_TELLING: Final = frozenset({"main.py", "main.ipynb", "requirements.txt", "requirements.txt.lock"})
_TELLING_FILES_MAX: Final = 20
_TELLING_BYTES_MAX: Final = 1024 * 1024
_SKIPPED_FILE: Final = re.compile(
    r".*~|#.*#|\.#.*|\..*\.sw[a-z]|4913|.*___jb_(tmp|old)___|.*\.py[co]|\.DS_Store|\.git", re.DOTALL
)
# Whatever else begins with a dot may be read by a script, as `.dlt` and `.streamlit` are.
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
    """None where the commit tells no time that a calendar knows."""
    subject: str


class Snapshot(msgspec.Struct, frozen=True):
    """The child folders of the root at one moment. Equal fingerprints of a folder mean equal content."""

    commit: Commit | None
    fingerprints: Mapping[str, str]
    ignored: Mapping[str, str] = {}
    """Children that look like folders and are none, each with the reason."""


class Folder(msgspec.Struct, frozen=True):
    """The files of one child folder by relative path.

    With refusals it cannot be bundled, and ``files`` has only what tells whether it is a pipeline, and which.
    """

    files: Mapping[str, File]
    refusals: tuple[Refusal, ...] = ()


class Source(Protocol):
    """Where pipelines come from. One user at a time: calls must not overlap."""

    @property
    def label(self) -> str:
        """The folder or repository as people know it, without credentials."""

    async def snapshot(self) -> Snapshot:
        """Look at the source now. Raises ``SourceFailed`` or ``SourceDamaged``."""

    async def read(self, snapshot: Snapshot, name: str) -> Folder:
        """Read one folder of the newest snapshot. Raises ``SourceFailed`` or ``SourceDamaged``."""

    def changes(self) -> AsyncGenerator[None, None]:
        """Yield once at the start, then whenever it is time to look again. Ends only by being closed."""


class ReadingPlan(msgspec.Struct, frozen=True):
    """Which paths of a folder to read."""

    paths: tuple[str, ...]
    refusals: tuple[Refusal, ...]


def plan(sizes_bytes: Mapping[str, int], refused: tuple[Refusal, ...]) -> ReadingPlan:
    """Decide from paths and sizes, before anything is read. *refused* is what the source itself ruled out."""
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
    """Whether a child of the root with this name is never looked into, whatever it holds."""
    return name.startswith(".") or name == "__pycache__"


def skipped(path: str) -> bool:
    """Whether this file of a child, by its path there, stays behind: caches, environments, what editors leave."""
    *folders, name = path.split("/")
    return any(map(skipped_folder, folders)) or _SKIPPED_FILE.fullmatch(name) is not None


def skipped_folder(name: str) -> bool:
    """Whether a folder of this name, somewhere in a child, is never looked into."""
    return name in _SKIPPED_FOLDERS
