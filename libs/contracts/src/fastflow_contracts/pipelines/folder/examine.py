"""Turns the files of a folder into its pipeline and bundle. Pure; takes up to a second for a large folder."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.folder import bundle
from fastflow_contracts.pipelines.folder.bundle import Bundle, Refusal
from fastflow_contracts.pipelines.folder.discovery import NOTEBOOK, SCRIPT, inspect_folder
from fastflow_contracts.pipelines.folder.selection import Folder
from fastflow_contracts.pipelines.format.manifest import Notice, Problem
from fastflow_contracts.pipelines.format.spec import PipelineSpec

_ENTRIES: Final = frozenset({SCRIPT, NOTEBOOK})


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


class Examined(NamedTuple):
    """A pipeline, and its bundle if the version is valid."""

    found: Found
    bundle: Bundle | None


def examine(name: str, folder: Folder, *, is_known: bool) -> Examined | None:
    """Return the pipeline in a folder; None if the folder is not a pipeline.

    Args:
        name: Name of the folder.
        folder: Its files and refusals.
        is_known: A pipeline with this name exists. Then a folder that cannot be read completely stays a pipeline.
    """
    problems = tuple(_problem(refusal) for refusal in folder.refusals)
    files = {path: file.data for path, file in folder.files.items()}
    discovered = inspect_folder(name, files, is_whole=not folder.refusals)
    if discovered is None:
        if folder.refusals and (is_known or any(refusal.path in _ENTRIES for refusal in folder.refusals)):
            return Examined(Found(PipelineName(name), None, problems, ()), None)
        return None
    problems = (*discovered.problems, *problems)
    # An invalid name is a problem, so a pipeline with such a name never has a version.
    known = Found(PipelineName(name), None, problems, discovered.notices)
    if problems or discovered.spec is None:
        return Examined(known, None)
    packed = bundle.pack(folder.files)
    version = FoundVersion(packed.sha256, discovered.spec, discovered.has_requirements, discovered.python)
    return Examined(Found(known.name, version, (), discovered.notices), packed)


def _problem(refusal: Refusal) -> Problem:
    return Problem(file=refusal.path or None, accepted=refusal.reason)
