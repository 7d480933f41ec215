"""Which Python versions a range such as ``>=3.11,<3.13`` admits. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

PATCHES_MAX: Final = 100
"""No minor version of Python has had more patch releases."""

_CLAUSE: Final = re.compile(r"(~=|===?|!=|<=|>=|<|>)\s*(\d{1,4}(?:\.\d{1,4}){0,2})(?:\.\d+|[a-z]+\d+)*(\.\*)?")
_VERSION: Final = re.compile(r"\d{1,4}(\.\d{1,4}){0,2}")


def is_version(text: str) -> bool:
    """Whether *text* is one version, such as ``3.12`` or ``3.12.4``."""
    return _VERSION.fullmatch(text) is not None


def is_range(text: str) -> bool:
    """Whether *text* is a range that ``meets`` understands, such as ``>=3.11,<3.13``."""
    return all(_CLAUSE.fullmatch(clause.strip()) for clause in text.split(","))


def meets(version: str, wanted: str) -> bool:
    """Whether a release of *version* is in the range *wanted*.

    Args:
        version: ``3.12`` stands for all its patch releases.
        wanted: A range; see ``is_range``.
    """
    clauses = [_CLAUSE.fullmatch(clause.strip()) for clause in wanted.split(",")]
    return any(all(clause is None or _admits(clause, release) for clause in clauses) for release in _releases(version))


def choose(asked: str | None, default: str) -> str:
    """Return the version or range to run with.

    Args:
        asked: What a pipeline names: a version, a range, or None.
        default: The version of pipelines that name none; may be empty. It also decides within a range.
    """
    if asked and default and not is_version(asked) and meets(default, asked):
        return default
    return asked or default


def _releases(version: str) -> Iterator[tuple[int, ...]]:
    parts = tuple(map(int, version.split(".")))
    if len(parts) >= 3:
        yield parts[:3]
    else:
        yield from ((*parts, *(0,) * (2 - len(parts)), patch) for patch in range(PATCHES_MAX))


def _admits(clause: re.Match[str], release: tuple[int, ...]) -> bool:
    operator, text, wildcard = clause.groups()
    parts = tuple(map(int, text.split(".")))
    bound = (*parts, 0, 0)[:3]
    match operator:
        case ">=":
            return release >= bound
        case "<=":
            return release <= bound
        case ">":
            return release > bound
        case "<":
            return release < bound
        case "~=":
            return release >= bound and release[: len(parts) - 1] == parts[:-1]
    is_equal = release[: len(parts)] == parts if wildcard else release == bound
    return is_equal != (operator == "!=")
