"""Infers a schema from the parameters cell of a notebook: names, types, defaults, and comments as descriptions. Pure.

The schema describes: forms and documents show it. A start is refused only for a text that the cell cannot take
(``cell_texts``); a value of another type stays as it is, as with papermill.
"""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
import warnings
from collections.abc import Iterator
from typing import Any, Final

from fastflow_contracts.pipelines.parameters.schema import NAME_CHARACTERS_MAX, PROPERTIES_MAX

SOURCE_CHARACTERS_MAX: Final = 32 * 1024
DEFAULT_CHARACTERS_MAX: Final = 1_000
DESCRIPTION_CHARACTERS_MAX: Final = 500
INTEGER_MAX: Final = 2**53
"""Larger numbers are others in other languages."""

_TYPES: Final = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
_NAMES: Final = {
    "bool": {"type": "boolean"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "str": {"type": "string"},
    "list": {"type": "array"},
    "dict": {"type": "object"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
}
_TYPE_COMMENT: Final = re.compile(r"type:\s*([\w.]+)\s*")


def inferred_schema(source: str) -> dict[str, Any] | None:
    """Return the schema of the parameters that *source* assigns; None: it assigns none, or cannot be read."""
    if len(source) > SOURCE_CHARACTERS_MAX or source.lstrip().startswith("%%"):
        return None
    text = "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the author's code
            statements = ast.parse(text).body
            comments = _comments(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        return None
    properties: dict[str, Any] = {}
    for statement in statements:
        for name, annotation, value in _assigned(statement):
            if not name.startswith("_") and len(name) <= NAME_CHARACTERS_MAX:
                properties[name] = _property(annotation, value, _comment(statement, comments))
    shown = dict(list(properties.items())[:PROPERTIES_MAX])
    return {"type": "object", "properties": shown} if shown else None


def _assigned(statement: ast.stmt) -> Iterator[tuple[str, ast.expr | None, ast.expr]]:
    if isinstance(statement, ast.Assign):
        for target in statement.targets:
            if isinstance(target, ast.Name):
                yield target.id, None, statement.value
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
        yield statement.target.id, statement.annotation, statement.value


def _property(annotation: ast.expr | None, value: ast.expr, comment: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    default = _plain(value)
    if default is not None:
        found = {"type": _TYPES[type(default)]}
        if isinstance(default, list) and default and (kinds := {type(item) for item in default}) <= _TYPES.keys():
            found |= {"items": {"type": _TYPES[kinds.pop()]}} if len(kinds) == 1 else {}
    if typed := _TYPE_COMMENT.match(comment):
        found |= _NAMES.get(typed[1].rpartition(".")[2], {})
        comment = comment[typed.end() :].lstrip("# ")
    found |= _annotated(annotation)
    if default is not None:
        found["default"] = default
    if comment:
        found["description"] = comment[:DESCRIPTION_CHARACTERS_MAX]
    return found


def _annotated(annotation: ast.expr | None) -> dict[str, Any]:
    """Return what an annotation says: a plain type, also by its module, a list of one, or a choice."""
    match annotation:
        case ast.Constant(value=str(text)):
            try:
                return _annotated(ast.parse(text, mode="eval").body)
            except (SyntaxError, ValueError, RecursionError):
                return {}
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return dict(_NAMES.get(name, {}))
        case ast.Subscript(value=ast.Name(id="list" | "List"), slice=item):
            inside = _annotated(item)
            return {"type": "array", **({"items": inside} if inside else {})}
        case ast.Subscript(value=ast.Name(id="Literal") | ast.Attribute(attr="Literal"), slice=choices):
            items = choices.elts if isinstance(choices, ast.Tuple) else [choices]
            values = [item.value for item in items if isinstance(item, ast.Constant)]
            return {"enum": values} if values and all(isinstance(value, str | int) for value in values) else {}
        case _:
            return {}


def _plain(value: ast.expr) -> Any:
    """Return a value that is JSON and is not long; None for any other, which the notebook computes."""
    try:
        found = ast.literal_eval(value)
        if isinstance(found, tuple):
            found = list(found)
        text = json.dumps(found, allow_nan=False)
        again = json.loads(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    if len(text) > DEFAULT_CHARACTERS_MAX or type(found) not in _TYPES or not _is_exact(again) or "\\u0000" in text:
        return None
    return again


def _is_exact(value: Any) -> bool:
    match value:
        case int():
            return abs(value) <= INTEGER_MAX
        case list():
            return all(map(_is_exact, value))
        case dict():
            return all(map(_is_exact, value.values()))
        case str():
            return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
        case _:
            return True


def _comments(text: str) -> dict[int, tuple[str, bool]]:
    """Return the comments by line, and whether each has its line for itself."""
    lines = text.split("\n")
    return {
        token.start[0]: (token.string.lstrip("# ").rstrip(), not lines[token.start[0] - 1][: token.start[1]].strip())
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    }


def _comment(statement: ast.stmt, comments: dict[int, tuple[str, bool]]) -> str:
    """Return the comment that ends the statement, else the lines of comment just above it."""
    beside, is_alone = comments.get(statement.end_lineno or statement.lineno, ("", True))
    if beside and not is_alone:
        return beside
    above: list[str] = []
    line = statement.lineno - 1
    while line in comments and comments[line][1]:
        above.insert(0, comments[line][0])
        line -= 1
    return " ".join(filter(None, above))
