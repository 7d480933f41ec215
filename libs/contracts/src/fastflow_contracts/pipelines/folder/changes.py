"""What differs between two versions of a folder: names of files, and requirements. Pure; never any content."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final

from fastflow_contracts.pipelines.folder.bundle import File, shown
from fastflow_contracts.pipelines.folder.packages import REQUIREMENTS
from fastflow_contracts.pipelines.folder.pep723 import BadInline, read_inline
from fastflow_contracts.pipelines.folder.project import PROJECT, PROJECT_BYTES_MAX
from fastflow_contracts.pipelines.folder.requirements import Reader
from fastflow_contracts.pipelines.records import PackageChange, VersionChanges

NAMES_MAX: Final = 50
"""How many files of each kind, and how many packages, are named."""
WORDS_CHARACTERS_MAX: Final = 100

_SCRIPT: Final = "main.py"
_NAMED: Final = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?P<words>\s*(\[|[<>=!~;@]|$).*)")
_AFTER: Final = re.compile(r"(?<!\s)\s+--.*")
"""Options of one requirement, such as its hashes."""
_LOGIN: Final = re.compile(r"//[^/\s]*@")
_QUERY: Final = re.compile(r"\?[^#\s]*")


def changes(before: Mapping[str, File], after: Mapping[str, File]) -> VersionChanges:
    """Return the differences from *before* to *after*, both by relative path."""
    added = sorted(after.keys() - before.keys())
    removed = sorted(before.keys() - after.keys())
    changed = sorted(path for path in before.keys() & after.keys() if before[path] != after[path])
    packages = tuple(_package_changes(_packages(before), _packages(after)))
    lists = (added, removed, changed)
    return VersionChanges(
        added=_names(added),
        removed=_names(removed),
        changed=_names(changed),
        packages=packages[:NAMES_MAX],
        unnamed=sum(max(0, len(each) - NAMES_MAX) for each in (*lists, packages)),
    )


def _names(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(shown, paths))[:NAMES_MAX]


def _package_changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[PackageChange]:
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield PackageChange(name=name, before=before.get(name), after=after.get(name))


def _packages(files: Mapping[str, File]) -> dict[str, str]:
    """Return what each package must be, by its normalised name. Two lines about one package are joined."""
    found: dict[str, set[str]] = {}
    for line in _requirements({path: file.data for path, file in files.items()}):
        name, words = _read(line)
        if name:
            found.setdefault(name, set()).add(words)
    return {name: ", ".join(sorted(words)) for name, words in found.items()}


def _requirements(files: Mapping[str, bytes]) -> Iterator[str]:
    reader = Reader(files)
    if file := next((file for file in REQUIREMENTS if file in files), None):
        reader.read(file)
    yield from (line.text for line in reader.lines)
    with suppress(BadInline):  # beside a notebook, nobody has checked it
        yield from read_inline(files.get(_SCRIPT, b"")).dependencies
    yield from _of_project(files.get(PROJECT, b""))


def _of_project(data: bytes) -> Iterator[str]:
    try:
        project = tomllib.loads(data[:PROJECT_BYTES_MAX].decode("utf-8-sig")).get("project", {})
        dependencies = project.get("dependencies", ())
    except (ValueError, RecursionError, AttributeError):
        return
    if isinstance(dependencies, list):
        yield from (each for each in dependencies if isinstance(each, str))


def _read(line: str) -> tuple[str, str]:
    """Return name and demands of a requirement, without logins; an empty name for an option."""
    text = _QUERY.sub("", _LOGIN.sub("//", _AFTER.sub("", line.strip())))
    if text.startswith("-"):
        return "", ""
    if (named := _NAMED.fullmatch(text)) is None:
        return text[:WORDS_CHARACTERS_MAX], ""
    return re.sub(r"[-_.]+", "-", named["name"]).lower(), named["words"].strip()[:WORDS_CHARACTERS_MAX]
