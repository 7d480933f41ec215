"""What a pipeline's folder asks of its environment: packages, interpreter, and the files that say so. Pure.

It decides as ``uv run --with-requirements requirements.txt main.py`` does in that folder. A block ``# /// script`` of
main.py replaces the project of ``pyproject.toml``; the requirements file adds to either.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Final

import msgspec

from fastflow_contracts.pipelines.folder.origins import LOCK, SETTINGS, mentions, strangers, unreadable, variables
from fastflow_contracts.pipelines.folder.pep723 import Inline, read_inline
from fastflow_contracts.pipelines.folder.project import PROJECT, BadProject, Project, line_of, read_project
from fastflow_contracts.pipelines.folder.python_versions import is_range, is_version, meets
from fastflow_contracts.pipelines.folder.requirements import Mention, Reader
from fastflow_contracts.pipelines.format.diagnostics import DIAGNOSTICS_MAX, Problem

REQUIREMENTS: Final = ("requirements.txt.lock", "requirements.txt")
"""The first existing file is used."""

_SCRIPT: Final = "main.py"
_PIN: Final = ".python-version"


class Packages(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment of a folder is made of."""

    requirements_file: str | None = None
    """The file to install, unless it names nothing."""
    requires_hashes: bool = False
    """Whether that file, or one that it includes, says ``--require-hashes``."""
    is_project: bool = False
    """Whether the project of ``pyproject.toml`` must be installed first."""
    inline: tuple[str, ...] = ()
    """What the script itself names."""
    python: str | None = None
    """The version or range that the folder asks for."""
    paths: tuple[str, ...] = ()
    """Every file that making the environment reads, sorted."""
    problems: tuple[Problem, ...] = ()


def packages_of(
    files: Mapping[str, bytes],
    *,
    is_script: bool,
    python_version: str | None = None,
    allowed_indexes: tuple[str, ...] = (),
) -> Packages:
    """Read what a folder asks for.

    Args:
        files: The content of its files by relative path.
        is_script: Whether main.py is what runs; a notebook has no such block.
        python_version: What ``pipeline.json`` says.
        allowed_indexes: Where packages may come from; empty: from anywhere.

    Raises:
        BadInline: The script's block is invalid.
    """
    inline = read_inline(files.get(_SCRIPT, b"")) if is_script else Inline()
    reader = Reader(files)
    requirements_file = next((file for file in REQUIREMENTS if file in files), None)
    if requirements_file:
        reader.read(requirements_file)
        if not reader.names_packages:
            requirements_file = None
            reader.paths.clear()
    project = _project(files, reader)
    is_project = project.is_project and not inline.line
    if is_project:
        _add_project(files, reader, project)
    if requirements_file or is_project or inline.dependencies:
        reader.paths.update({SETTINGS} & files.keys())
        if project.has_settings:
            reader.paths.add(PROJECT)
    _add_sources(files, reader)
    requires, place = inline.requires_python, (_SCRIPT, inline.line or None)
    if is_project and (requires := project.requires_python):
        place = (PROJECT, line_of(files[PROJECT], "requires-python"))
    python = _pin(files) or requires
    found = mentions(files, reader, reader.paths)
    found += [Mention(each, _SCRIPT, inline.line) for each in inline.dependencies]
    problems = reader.problems
    for mention, reason in (*variables(found), *unreadable(files, reader.paths), *strangers(found, allowed_indexes)):
        if len(problems) < DIAGNOSTICS_MAX:
            problems.append(Problem(accepted=reason, file=mention.file, line=mention.line))
    if requires:
        problems = [*problems, *_contradictions(requires, python_version, place)]
    return Packages(
        requirements_file=requirements_file,
        requires_hashes=reader.requires_hashes,
        is_project=is_project,
        inline=inline.dependencies,
        python=python if python and (is_version(python) or is_range(python)) else None,
        paths=tuple(sorted(reader.paths)),
        problems=tuple(problems),
    )


def _project(files: Mapping[str, bytes], reader: Reader) -> Project:
    try:
        return read_project(files[PROJECT]) if PROJECT in files else Project()
    except BadProject as error:
        reader.problems.append(Problem(accepted=str(error), file=PROJECT))
        return Project()


def _add_project(files: Mapping[str, bytes], reader: Reader, project: Project) -> None:
    reader.paths.update({PROJECT, LOCK, _PIN} & files.keys())
    if project.is_package or project.has_workspace:
        reader.paths.update(reader.within(""))
    for path in project.sources:
        reader.add_package(path, PROJECT, line_of(files[PROJECT], path))


def _add_sources(files: Mapping[str, bytes], reader: Reader) -> None:
    """Add the local packages that local packages name."""
    done: set[str] = set()
    while left := reader.packages - done:
        folder = left.pop()
        done.add(folder)
        file = posixpath.join(folder, PROJECT)
        if file == PROJECT or file not in files:
            continue
        try:
            sources = read_project(files[file]).sources
        except BadProject as error:
            reader.problems.append(Problem(accepted=str(error), file=file))
            continue
        for path in sources:
            reader.add_package(posixpath.join(folder, path), file, line_of(files[file], path))


def _pin(files: Mapping[str, bytes]) -> str | None:
    """The version in ``.python-version``, if it is one that uv can get on any machine."""
    lines = files.get(_PIN, b"").decode("utf-8", "replace").splitlines()
    first = next((line.strip() for line in lines if line.strip() and not line.strip().startswith("#")), "")
    version = first.removeprefix("cpython-").removeprefix("cpython@")
    return version if is_version(version) else None


def _contradictions(requires: str, python_version: str | None, place: tuple[str, int | None]) -> list[Problem]:
    file, line = place
    value = f'"{requires[:80]}"'
    if not is_range(requires):
        accepted = "a range of versions such as >=3.11,<3.14"
    elif python_version and not meets(python_version, requires):
        accepted = f"a range with {python_version}, the python_version of pipeline.json; change one of them"
    else:
        return []
    return [Problem(field="requires-python", value=value, accepted=accepted, file=file, line=line)]
