"""Turns the files of a folder into its pipeline and bundle. Pure; takes up to a second for a large folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.folder import bundle
from fastflow_contracts.pipelines.folder.bundle import Bundle, File, Refusal
from fastflow_contracts.pipelines.folder.discovery import MANIFEST, NOTEBOOK, SCRIPT, inspect_folder
from fastflow_contracts.pipelines.folder.lfs import pointer_in
from fastflow_contracts.pipelines.folder.limits import DEFAULT, FolderLimits, near
from fastflow_contracts.pipelines.folder.packages import REQUIREMENTS
from fastflow_contracts.pipelines.folder.selection import Folder
from fastflow_contracts.pipelines.format.limit_policy import NO_POLICY, LimitPolicy
from fastflow_contracts.pipelines.format.manifest import Notice, Problem
from fastflow_contracts.pipelines.format.spec import PipelineSpec

_ENTRIES: Final = frozenset({SCRIPT, NOTEBOOK})
_NEEDED: Final = _ENTRIES | {MANIFEST, *REQUIREMENTS}
"""Files that must be there themselves: no run can fetch them."""
_POINTERS_NAMED_MAX: Final = 5
UNEXPECTED: Final = "It cannot be read, because of an error in Fast-Flow"
"""How the problem begins of a folder that our readers fail at."""


class Found(msgspec.Struct, frozen=True):
    """The pipeline in a folder: a valid version or problems."""

    name: PipelineName
    version: FoundVersion | None
    problems: tuple[Problem, ...]
    notices: tuple[Notice, ...]


class FoundVersion(msgspec.Struct, frozen=True):
    """A version that can run."""

    bundle: str
    spec: PipelineSpec
    has_requirements: bool
    python: str | None = None
    """The Python version or range that files other than pipeline.json ask for."""
    inferred_parameters: dict[str, Any] | None = None
    """The schema of a notebook's parameters that its tagged cell shows."""
    metadata: MetadataFile | None = None
    """Where its values stand."""


class MetadataFile(msgspec.Struct, frozen=True):
    """The file that holds the metadata."""

    name: str
    text: bytes


class Examined(NamedTuple):
    """A pipeline, and its bundle if the version is valid."""

    found: Found
    bundle: Bundle | None

    def after(self, found: Found) -> Examined:
        """Return what a further look left of it: without a version there is no bundle."""
        return Examined(found, self.bundle if found.version is not None else None)


def examine(
    name: str, folder: Folder, *, is_known: bool, limits: FolderLimits = DEFAULT, policy: LimitPolicy = NO_POLICY
) -> Examined | None:
    """Return the pipeline in a folder; None if the folder is not a pipeline.

    Args:
        name: Name of the folder.
        folder: Its files and refusals.
        is_known: A pipeline with this name exists. Then a folder that cannot be read completely stays a pipeline.
        limits: The most that a folder may hold.
        policy: The most that a pipeline may demand for its runs.
    """
    try:
        return _examined(name, folder, is_known, limits, policy)
    except Exception as error:
        # A file that our readers do not expect must not hide the pipeline, or stop the others.
        if not (is_known or _ENTRIES & folder.files.keys()):
            return None
        problem = Problem(accepted=f"{UNEXPECTED} ({type(error).__name__}): please report it, with this folder.")
        return Examined(Found(PipelineName(name), None, (problem,), ()), None)


def _examined(name: str, folder: Folder, is_known: bool, limits: FolderLimits, policy: LimitPolicy) -> Examined | None:
    problems = tuple(_problem(refusal) for refusal in folder.refusals)
    files = {path: file.data for path, file in folder.files.items()}
    discovered = inspect_folder(
        name, files, policy, is_whole=not folder.refusals, allowed_indexes=limits.allowed_indexes
    )
    if discovered is None:
        if folder.refusals and (is_known or any(refusal.path in _ENTRIES for refusal in folder.refusals)):
            return Examined(Found(PipelineName(name), None, problems, ()), None)
        return None
    pointers = [path for path, file in sorted(folder.files.items()) if pointer_in(file.data)]
    needed = _NEEDED | {f"{name}.json"}
    missing = [path for path in pointers if path in needed]
    if missing:
        # What the pointer's own text says as a script or as JSON is beside the point.
        own = tuple(each for each in discovered.problems if each.file not in missing)
        problems = (*(Problem(file=path, accepted=_LFS_NEEDED) for path in missing), *own, *problems)
    else:
        problems = (*discovered.problems, *problems)
    notices = (
        *discovered.notices,
        *_pointer_notices([path for path in pointers if path not in needed]),
        *_near_notices(folder.files, limits),
    )
    # An invalid name is a problem, so a pipeline with such a name never has a version.
    known = Found(PipelineName(name), None, problems, notices)
    if problems or discovered.spec is None:
        return Examined(known, None)
    packed = bundle.pack(folder.files, limits)
    version = FoundVersion(
        packed.sha256,
        discovered.spec,
        discovered.has_requirements,
        discovered.python,
        discovered.inferred_parameters,
        MetadataFile(metadata, files[metadata]) if (metadata := discovered.metadata_file) else None,
    )
    return Examined(Found(known.name, version, (), notices), packed)


_LFS_NEEDED: Final = (
    "It is only a pointer of Git LFS. Install git-lfs where the repository is fetched, or commit the file itself."
)


def _pointer_notices(paths: list[str]) -> Iterator[Notice]:
    """One notice that names the files, as a run gets the text of the pointers."""
    if paths:
        more = f" and {len(paths) - _POINTERS_NAMED_MAX} more" if len(paths) > _POINTERS_NAMED_MAX else ""
        names = ", ".join(map(bundle.shown, paths[:_POINTERS_NAMED_MAX])) + more
        text = (
            f"Runs find pointers of Git LFS, not the files: {names}. Install git-lfs where the repository is fetched."
        )
        yield Notice(text=text)


def _near_notices(files: Mapping[str, File], limits: FolderLimits) -> Iterator[Notice]:
    sizes_bytes = {path: len(file.data) for path, file in files.items()}
    for path, text in near(sizes_bytes, limits):
        yield Notice(file=bundle.shown(path) if path else None, text=text)


def _problem(refusal: Refusal) -> Problem:
    return Problem(file=refusal.path or None, accepted=refusal.reason)
