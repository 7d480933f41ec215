"""Which files of a folder are bundled, and which are read to show what is wrong. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from fastflow_contracts.pipelines.folder import bundle
from fastflow_contracts.pipelines.folder.bundle import File, Refusal
from fastflow_contracts.pipelines.folder.limits import DEFAULT, FolderLimits

FOLDERS_MAX: Final = 5_000
"""Most child folders of a root; with more, the source fails."""
STRAY_ENTRIES: Final = frozenset({"main.py", "main.ipynb"})
STRAY_ENTRY: Final = "is not in its own folder, so it is no pipeline; move it into one, such as hello/main.py."
"""Why a script in the root is ignored."""

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
_ENVIRONMENT_MARKS: Final = frozenset({"pyvenv.cfg", "conda-meta"})
"""Entries that only a virtual environment has, under any name."""
_OWN_ENVIRONMENT: Final = frozenset(
    {"pyvenv.cfg", "conda-meta", "bin", "include", "lib", "lib64", "share", "Include", "Lib", "Scripts"}
)
"""What `python -m venv .` and packages make in a folder that is an environment itself."""


class Folder(msgspec.Struct, frozen=True):
    """The files of one child folder by relative path, and its empty folders, with a trailing slash.

    With refusals it cannot be bundled, and ``files`` has only the files that define the pipeline.
    """

    files: Mapping[str, File]
    refusals: tuple[Refusal, ...] = ()


class ReadingPlan(msgspec.Struct, frozen=True):
    """The paths of a folder to read, and the reasons against a bundle."""

    paths: tuple[str, ...]
    refusals: tuple[Refusal, ...]


def plan(sizes_bytes: Mapping[str, int], refused: tuple[Refusal, ...], limits: FolderLimits = DEFAULT) -> ReadingPlan:
    """Plan which files to read, from paths and sizes. *refused* are the refusals of the source itself."""
    found = (*refused[: bundle.REFUSALS_MAX], *bundle.refusals(sizes_bytes, limits))
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


def telling_first(names: Iterable[str]) -> list[str]:
    """Put the names first that make a folder a pipeline, whether it has them or not: a reader may stop early."""
    telling = {*_TELLING, "pipeline.json"}
    return [*sorted(telling), *sorted({*names} - telling)]


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


def without_own_environment(names: Collection[str]) -> list[str]:
    """Return the *names* in a pipeline's folder that may travel: all, or if it is an environment, not its parts."""
    left = _OWN_ENVIRONMENT if is_environment(names) else frozenset()
    return [name for name in names if name not in left]


def is_environment(names: Collection[str]) -> bool:
    """Whether a folder with these entries is a virtual environment, which stays behind. Never asked of a pipeline."""
    return not _ENVIRONMENT_MARKS.isdisjoint(names)


def travelling(paths: Iterable[str]) -> list[str]:
    """Return those of all *paths* in a child that are not skipped and lie in no virtual environment."""
    paths = list(paths)
    environments = {
        tuple(parts[:depth])
        for parts in (path.split("/") for path in paths)
        for depth, part in enumerate(parts)
        if depth and part in _ENVIRONMENT_MARKS
    }
    tops = set(without_own_environment({path.split("/")[0] for path in paths}))
    return [
        path for path in paths if path.split("/")[0] in tops and not skipped(path) and not _is_below(path, environments)
    ]


def _is_below(path: str, folders: Collection[tuple[str, ...]]) -> bool:
    parts = path.split("/")
    return bool(folders) and any(tuple(parts[:depth]) in folders for depth in range(1, len(parts)))
