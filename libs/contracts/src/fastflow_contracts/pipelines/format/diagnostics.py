"""Diagnostics of a pipeline's file: problems reject it, notices do not. Data and its wording."""

from __future__ import annotations

import msgspec

from fastflow_contracts.base import Count
from fastflow_contracts.pipelines.format.json_positions import JsonNode

SHOWN_CHARACTERS_MAX = 80
"""Longest excerpt of a rejected value."""
DIAGNOSTICS_MAX = 100
"""Limit for problems, and for notices, of one file. The rest is only counted."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A reason why a version of a pipeline cannot run."""

    field: str = ""
    """Path of the field, such as ``schedules[1].timeout``; empty for the whole file or the folder."""
    value: str | None = None
    """Its JSON as written, shortened: ``{…}`` for objects, ``[…]`` for lists, ``***`` for secrets. None: missing."""
    accepted: str
    """What is accepted instead; for the whole file a complete sentence."""
    line: Count | None = None
    """Line in the file, from 1."""
    column: Count | None = None
    """Column in the line, from 1; None: the line says enough."""
    file: str | None = None

    def __str__(self) -> str:
        place = _place(self.file, self.line, self.column)
        if not self.field:
            return _printable(f"{place}{self.accepted}")
        found = "is missing" if self.value is None else f"is {self.value}"
        return _printable(f"{place}{self.field} {found}; accepted: {self.accepted}")


class Notice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A probable mistake. The version can run nevertheless."""

    field: str = ""
    """Path of the field, as in ``Problem``."""
    text: str
    """Completes the sentence that starts with the field; a whole sentence without a field."""
    line: Count | None = None
    file: str | None = None

    def __str__(self) -> str:
        return _printable(f"{_place(self.file, self.line)}{self.field}{' ' if self.field else ''}{self.text}")


class Diagnostics:
    """Collects the problems and notices of one file."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._problems: list[Problem] = []
        self._problems_beyond = 0
        self._notices: list[Notice] = []

    def refuse(
        self, field: str, node: JsonNode, accepted: str, *, is_secret: bool = False, within: int | None = None
    ) -> None:
        """Report that the value of *field* is not accepted. *within*: the character of its text that is wrong."""
        self._refuse(
            field,
            node,
            accepted,
            "***" if is_secret else _shown(node),
            None if within is None else node.column_of(within),
        )

    def refuse_part(self, field: str, node: JsonNode, accepted: str, *, is_missing: bool = False) -> None:
        """Report that a part of a value is not accepted, or missing in *node*, with its column."""
        self._refuse(field, node, accepted, None if is_missing else _shown(node), column=node.column)

    def miss(self, field: str, within: JsonNode, accepted: str) -> None:
        """Report that the object *within* lacks the required *field*."""
        self._refuse(field, within, accepted, None)

    def refuse_file(self, sentence: str, line: int | None = None) -> None:
        """Report that the file as a whole is not accepted."""
        self._problems.append(Problem(accepted=sentence, line=line, file=self._file))

    def note(self, field: str, node: JsonNode, text: str) -> None:
        """Report a probable mistake in *field*."""
        if not self.has_enough_notices:
            line = (node.key or node).line
            self._notices.append(Notice(field=field, text=text, line=line, file=self._file))

    @property
    def has_enough_notices(self) -> bool:
        return len(self._notices) >= DIAGNOSTICS_MAX

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Problems by line; beyond the limit, one more that counts the rest."""
        ordered = tuple(sorted(self._problems, key=_line))
        if not self._problems_beyond:
            return ordered
        return (*ordered, Problem(accepted=f"{self._problems_beyond} more problems are not shown.", file=self._file))

    @property
    def notices(self) -> tuple[Notice, ...]:
        """Notices by line, up to the limit."""
        return tuple(sorted(self._notices, key=_line))

    def _refuse(self, field: str, node: JsonNode, accepted: str, value: str | None, column: int | None = None) -> None:
        if len(self._problems) >= DIAGNOSTICS_MAX:  # only count it: finding its line has a cost
            self._problems_beyond += 1
            return
        problem = Problem(field=field, value=value, accepted=accepted, line=node.line, column=column, file=self._file)
        self._problems.append(problem)


def path_of(parent: str, name: str) -> str:
    """Return the path of the member *name* of *parent*, readable for any name."""
    name = _shortened(name)
    if not name.replace("_", "a").replace("-", "a").isalnum():
        return f"{parent}[{msgspec.json.encode(name).decode()}]"
    return f"{parent}.{name}" if parent else name


def _shown(node: JsonNode) -> str:
    # An object or list in the wrong place may hold a secret, so its content is not shown.
    match node.value:
        case dict() as members:
            return "{…}" if members else "{}"
        case list() as items:
            return "[…]" if items else "[]"
        case _:
            return _shortened(node.text)


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}…"


def _line(diagnostic: Problem | Notice) -> int:
    return diagnostic.line or 0


def _place(file: str | None, line: int | None, column: int | None = None) -> str:
    return "".join(f"{part}:" for part in (file, line, column) if part is not None) + " " if file is not None else ""


def _printable(text: str) -> str:
    """Return *text* for a terminal: what a file quotes may contain control characters."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
