"""Reads a ``pyproject.toml`` as ``uv run`` does: what it needs of the folder. Pure; uv does the rest."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any, Final

import msgspec

PROJECT: Final = "pyproject.toml"
PROJECT_BYTES_MAX: Final = 64 * 1024
"""Bounds the time to parse: some TOML takes time quadratic in its length."""


class BadProject(ValueError):
    """The file cannot be read; the message is a sentence."""


class Project(msgspec.Struct, frozen=True):
    """What decides about an environment in a ``pyproject.toml``."""

    is_project: bool = False
    """Whether it has a table ``[project]``: without one, uv takes nothing but its own settings from it."""
    is_package: bool = False
    """Whether the folder itself is installed."""
    has_settings: bool = False
    """Whether it has settings of uv."""
    has_workspace: bool = False
    requires_python: str | None = None
    sources: tuple[str, ...] = ()
    """Paths of local packages, as written."""


def read_project(data: bytes) -> Project:
    """Read the file.

    Raises:
        BadProject: It is no TOML, which also stops ``uv run``.
    """
    if len(data) > PROJECT_BYTES_MAX:
        raise BadProject(f"It is longer than {PROJECT_BYTES_MAX // 1024} KiB; move what is not about the project away.")
    try:
        content = tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadProject(f"It is no TOML: {error}.") from error
    project, settings = _table(content, "project"), _table(_table(content, "tool"), "uv")
    requires = project.get("requires-python")
    return Project(
        is_project="project" in content,
        is_package=bool(settings.get("package", "build-system" in content)),
        has_settings=bool(settings),
        has_workspace="workspace" in settings,
        requires_python=requires if isinstance(requires, str) else None,
        sources=tuple(_sources(_table(settings, "sources"))),
    )


def line_of(data: bytes, text: str) -> int | None:
    """Return the first line of a file with *text* in it, from 1."""
    lines = data.decode("utf-8", "replace").splitlines()
    return next((number for number, line in enumerate(lines, 1) if text in line), None)


def _sources(sources: dict[str, Any]) -> Iterator[str]:
    for source in sources.values():
        for each in source if isinstance(source, list) else [source]:
            if isinstance(each, dict) and isinstance(path := each.get("path"), str):
                yield path


def _table(content: dict[str, Any], name: str) -> dict[str, Any]:
    table = content.get(name)
    return table if isinstance(table, dict) else {}
