"""The result of a run on its page: as JSON, and as a table if it is a list of objects. Pure."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from fastflow_api.formatting import bytes_text
from fastflow_gateway.dashboard.view import words

ROWS_MAX: Final = 100
COLUMNS_MAX: Final = 20
LINES_MAX: Final = 1_000
"""Of JSON; the download has the others."""
OPEN_LINES_MAX: Final = 12
"""JSON of more lines is folded."""


class ResultTable(msgspec.Struct, frozen=True):
    """A list of objects. ``rows`` has a text for each of ``columns``."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: str
    """What the table does not show, as a sentence; empty: nothing."""


class ShownResult(msgspec.Struct, frozen=True):
    """A result. ``size``: of what the script wrote, in words."""

    lines: tuple[str, ...]
    """JSON, indented."""
    lines_more: int
    """How many lines are left out."""
    is_open: bool
    """Whether the JSON is shown at once."""
    size: str
    table: ResultTable | None


def shown(result: bytes | None) -> ShownResult | None:
    """Return what the page shows of *result*, JSON; None if there is none."""
    if result is None:
        return None
    try:
        value = parsed(result)
        text = _indented(value, "")
    except (ValueError, RecursionError):  # of anyone who wrote to the bus
        value, text = None, result.decode(errors="replace")
    lines, table = text.split("\n"), _table(value)
    is_open = table is None and len(lines) <= OPEN_LINES_MAX
    kept = tuple(map(words.plain, lines[:LINES_MAX]))
    return ShownResult(kept, len(lines) - len(kept), is_open, bytes_text(len(result)), table)


def parsed(text: str | bytes) -> Any:
    """Return the value of JSON, whose numbers stay as they were written. Raises ``ValueError``, ``RecursionError``."""
    return json.loads(text, parse_int=_Digits, parse_float=_Digits)


def compact(value: Any) -> str:
    """Return a value of ``parsed`` as JSON in one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(compact, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_plain(name)}: {compact(each)}' for name, each in value.items())}}}"
    return _plain(value)


class _Digits(str):
    """A number as it was written: nothing is rounded."""


def _indented(value: Any, margin: str) -> str:
    """*value* as JSON with one member a line."""
    inner = f"{margin}  "
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"{inner}{_indented(each, inner)}" for each in value) + f"\n{margin}]"
    if isinstance(value, dict) and value:
        members = (f"{inner}{_plain(name)}: {_indented(each, inner)}" for name, each in value.items())
        return "{\n" + ",\n".join(members) + f"\n{margin}}}"
    return _plain(value)


def _plain(value: Any) -> str:
    return str(value) if isinstance(value, _Digits) else json.dumps(value, ensure_ascii=False)


def _table(value: Any) -> ResultTable | None:
    if not isinstance(value, list) or not value or not all(isinstance(each, dict) and each for each in value):
        return None
    names = list(dict.fromkeys(name for each in value for name in each))
    columns = names[:COLUMNS_MAX]
    rows = tuple(tuple(_cell(each, name) for name in columns) for each in value[:ROWS_MAX])
    more = [
        f"{count:,} {what}{'s' if count > 1 else ''}"
        for count, what in ((len(value) - len(rows), "row"), (len(names) - len(columns), "column"))
        if count
    ]
    return ResultTable(tuple(columns), rows, f"Not shown: {' and '.join(more)}." if more else "")


def _cell(row: dict[str, Any], name: str) -> str:
    if name not in row:
        return ""
    value = row[name]
    if isinstance(value, str):  # also a number
        return words.shown(value)
    return words.shown(compact(value))
