"""A JSON parser whose values know their position, so that a problem can name its line. Pure.

The standard library parses scalars; this module parses only objects and lists. It is stricter than ``json.loads``:
it rejects ``NaN`` and halves of surrogate pairs, and limits nesting. A number too large for a float becomes infinity;
code that expects a number rejects it like any other bad value.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple, NoReturn, TypeAlias, Union

NESTING_MAX = 64
"""Most brackets open at once."""

Value: TypeAlias = Union[bool, int, float, str, "list[JsonNode]", "dict[str, JsonNode]", None]


class JsonNode(NamedTuple):
    """A value and its position in the source."""

    value: Value
    source: str
    start: int
    end: int
    key: JsonNode | None = None
    """Its key, if it is a member of an object."""
    repeated: tuple[str, ...] = ()
    """Keys that occur more than once in this object; ``value`` holds the last member of each."""

    @property
    def line(self) -> int:
        """Line where the value starts, from 1."""
        return self.source.count("\n", 0, self.start) + 1

    def column_of(self, character: int) -> int:
        """Return where in its line a character of this string is, both from 1. An escape is one character."""
        at = self.start + 1
        for _ in range(character - 1):
            escape = _ESCAPE.match(self.source, at, self.end - 1)
            at = escape.end() if escape else min(at + 1, self.end - 1)
        return at - self.source.rfind("\n", 0, at)

    @property
    def column(self) -> int:
        """Column in which the value starts, from 1."""
        return self.start - self.source.rfind("\n", 0, self.start)

    @property
    def text(self) -> str:
        """The JSON of the value, as written."""
        return self.source[self.start : self.end]

    def member(self, name: str) -> JsonNode:
        """Return the member *name*, which must exist in this object."""
        assert isinstance(self.value, dict)
        found: JsonNode = self.value[name]
        return found

    def item(self, index: int) -> JsonNode:
        """Return the item at *index*, which must exist in this list."""
        assert isinstance(self.value, list)
        found: JsonNode = self.value[index]
        return found


class BadJson(ValueError):
    """The text is not JSON. ``line`` counts from 1."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


def parse(source: str) -> JsonNode:
    """Parse *source*.

    Raises:
        BadJson: The text is not JSON. No text raises anything else.
    """
    root = _value(source, _skip(source, 0), depth=0)
    end = _skip(source, root.end)
    if end < len(source):
        _refuse("something follows the end of the value", source, end)
    return root


_SPACE = re.compile(r"[ \t\n\r]*")
_ESCAPE = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\.")
_INTEGER_DIGITS_MAX = 300  # below what a float holds, and far below what int() refuses


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _INTEGER_DIGITS_MAX else float(digits)


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


_SCALARS = json.JSONDecoder(parse_int=_integer, parse_constant=_constant)


def _value(source: str, at: int, depth: int) -> JsonNode:
    if depth > NESTING_MAX:
        _refuse(f"more than {NESTING_MAX} brackets are open", source, at)
    match source[at : at + 1]:
        case "{":
            return _object(source, at, depth)
        case "[":
            return _array(source, at, depth)
        case _:
            return _scalar(source, at)


def _object(source: str, start: int, depth: int) -> JsonNode:
    members: dict[str, JsonNode] = {}
    repeated: list[str] = []
    at = _skip(source, start + 1)
    while source[at : at + 1] != "}":
        if members:
            at = _comma(source, at, closing="}")
        if source[at : at + 1] != '"':
            _refuse('a key in double quotes or "}" is missing', source, at)
        key = _scalar(source, at)
        at = _skip(source, key.end)
        if source[at : at + 1] != ":":
            _refuse('":" is missing after a key', source, at)
        member = _value(source, _skip(source, at + 1), depth + 1)
        name = str(key.value)
        if name in members:
            repeated.append(name)
        members[name] = member._replace(key=key)
        at = _skip(source, member.end)
    return JsonNode(members, source, start, at + 1, repeated=tuple(dict.fromkeys(repeated)))


def _array(source: str, start: int, depth: int) -> JsonNode:
    items: list[JsonNode] = []
    at = _skip(source, start + 1)
    while source[at : at + 1] != "]":
        if items:
            at = _comma(source, at, closing="]")
        items.append(_value(source, at, depth + 1))
        at = _skip(source, items[-1].end)
    return JsonNode(items, source, start, at + 1)


def _scalar(source: str, at: int) -> JsonNode:
    try:
        value, end = _SCALARS.raw_decode(source, at)
        if isinstance(value, str):
            value.encode()
    except json.JSONDecodeError as error:
        _refuse(error.msg, source, error.pos)
    except UnicodeEncodeError:
        _refuse("a string holds half of a surrogate pair", source, at)
    except ValueError as error:
        _refuse(str(error), source, at)
    return JsonNode(value, source, at, end)


def _comma(source: str, at: int, closing: str) -> int:
    """Require a comma at *at* and return the position of the next value."""
    if source[at : at + 1] != ",":
        _refuse(f'"," or "{closing}" is missing', source, at)
    following = _skip(source, at + 1)
    if source[following : following + 1] == closing:
        _refuse(f'a comma comes before "{closing}"', source, at)
    return following


def _skip(source: str, at: int) -> int:
    space = _SPACE.match(source, at)
    assert space is not None  # the pattern matches the empty string
    return space.end()


def _refuse(reason: str, source: str, at: int) -> NoReturn:
    raise BadJson(reason, source.count("\n", 0, at) + 1)
