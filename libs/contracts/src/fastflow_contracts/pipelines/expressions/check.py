"""What an expression must be to be accepted: CEL over known variables, of bounded length. Pure.

The library is imported only when an expression is checked: most installations have none.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final

from fastflow_contracts.pipelines.expressions.tokens import place_of, with_blank_bound

EXPRESSION_CHARACTERS_MAX: Final = 1_000
VARIABLES: Final = ("event", "headers", "env", "parameters", "pipeline")
FUNCTIONS: Final = frozenset(
    {
        *("size", "contains", "startsWith", "endsWith", "matches", "has"),
        *("string", "bytes", "double", "int", "uint", "type", "dyn", "duration", "timestamp"),
        *("getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"),
        *("getHours", "getMinutes", "getSeconds", "getMilliseconds"),
        *("optional.of", "optional.none", "hasValue", "value", "orValue", "or"),
    }
)
_NAMESPACES: Final = {"optional"}
_PLACE: Final = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")


class BadExpression(ValueError):
    """The text is no accepted expression. ``column``: its character where the error is, from 1, over all lines."""

    def __init__(self, reason: str, column: int) -> None:
        super().__init__(f"at its character {column}: {reason}")
        self.column = column


def check_expression(text: str) -> None:
    """Check that *text* compiles and names only what exists.

    Raises:
        BadExpression: It does not.
    """
    if not text.strip():
        raise BadExpression("it is empty", 1)
    if len(text) > EXPRESSION_CHARACTERS_MAX:
        raise BadExpression(f"it has {len(text):,} characters", EXPRESSION_CHARACTERS_MAX + 1)
    import cel

    try:
        cel.compile(text)
    except ValueError as error:
        raise _syntax_error(text, str(error)) from None
    outside = with_blank_bound(text)
    references = cel.compile(outside).references()
    for name in references["variables"]:
        if name.strip("_") and name not in (*VARIABLES, *_NAMESPACES):
            place = place_of(name, outside, is_variable=True)
            raise _unknown("variable", place, name, VARIABLES, f"there are {', '.join(VARIABLES)}")
    for name in references["functions"]:
        if name.isidentifier() and name not in {each.rpartition(".")[2] for each in FUNCTIONS}:
            place = place_of(name, text, is_variable=False)
            raise _unknown("function", place, name, FUNCTIONS, "those of CEL's standard are accepted")


def is_constant(text: str) -> bool:
    """Whether *text*, which ``check_expression`` accepts, reads no variable: its value is the same for each start."""
    import cel

    return not set(VARIABLES) & set(cel.compile(with_blank_bound(text)).references()["variables"])


def _syntax_error(text: str, message: str) -> BadExpression:
    found = [(int(line), int(column), reason) for line, column, reason in _PLACE.findall(message)]
    # The parser also reports what only follows from an error.
    found = [each for each in found if not each[2].startswith("Incomplete")] or found
    if not found:
        return BadExpression("it cannot be read", 1)
    line, column, reason = found[0]
    before = sum(len(each) + 1 for each in text.split("\n")[: line - 1])
    reason = reason.removeprefix("Syntax error: ").partition(" expecting {")[0].replace("'<EOF>'", "end")
    return BadExpression(reason, min(before + column, len(text) + 1))


def _unknown(what: str, place: int, name: str, known: Iterable[str], otherwise: str) -> BadExpression:
    similar = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.7)
    hint = f"did you mean {similar[0]}?" if similar else otherwise
    return BadExpression(f"there is no {what} {name}; {hint}", place)
