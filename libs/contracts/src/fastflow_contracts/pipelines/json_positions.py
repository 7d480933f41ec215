"""JSON whose values remember where they stand, so that a problem can name its line. Pure; knows no field.

Scalars are read by the standard library; only the brackets are walked here. Stricter than ``json.loads`` where it is
lenient: ``NaN`` and halves of surrogate pairs are refused, and nesting is bounded. A number too large for a float
reads as infinity; whoever wants a number refuses it like any other bad value.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple, NoReturn, TypeAlias, Union

NESTING_MAX = 64
"""How many brackets may be open at once."""

Value: TypeAlias = Union[bool, int, float, str, "list[Node]", "dict[str, Node]", None]


class Node(NamedTuple):
    """One value and where it stands."""

    value: Value
    source: str
    start: int
    end: int
    key: Node | None = None
    """The key before it, if it is a member of an object."""
    repeated: tuple[str, ...] = ()
    """Keys that this object has more than once; its value holds the last one of each."""

    @property
    def line(self) -> int:
        """Line on which it begins, from 1."""
        return self.source.count("\n", 0, self.start) + 1

    @property
    def text(self) -> str:
        """Its JSON, as written."""
        return self.source[self.start : self.end]

    def member(self, name: str) -> Node:
        """The value of *name* in an object that has it."""
        assert isinstance(self.value, dict)
        found: Node = self.value[name]
        return found

    def item(self, index: int) -> Node:
        """An item of a list that has it."""
        assert isinstance(self.value, list)
        found: Node = self.value[index]
        return found


class BadJson(ValueError):
    """The text is no JSON. ``line`` counts from 1."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


def parse(source: str) -> Node:
    """The value that *source* holds. Raises ``BadJson`` and nothing else, whatever the text."""
    root = _value(source, _skip(source, 0), depth=0)
    end = _skip(source, root.end)
    if end < len(source):
        _refuse("something follows the end of the value", source, end)
    return root


_SPACE = re.compile(r"[ \t\n\r]*")
_INTEGER_DIGITS_MAX = 300  # below what a float holds, and far below what int() refuses


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _INTEGER_DIGITS_MAX else float(digits)


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


_SCALARS = json.JSONDecoder(parse_int=_integer, parse_constant=_constant)


def _value(source: str, at: int, depth: int) -> Node:
    if depth > NESTING_MAX:
        _refuse(f"more than {NESTING_MAX} brackets are open", source, at)
    match source[at : at + 1]:
        case "{":
            return _object(source, at, depth)
        case "[":
            return _array(source, at, depth)
        case _:
            return _scalar(source, at)


def _object(source: str, start: int, depth: int) -> Node:
    members: dict[str, Node] = {}
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
    return Node(members, source, start, at + 1, repeated=tuple(dict.fromkeys(repeated)))


def _array(source: str, start: int, depth: int) -> Node:
    items: list[Node] = []
    at = _skip(source, start + 1)
    while source[at : at + 1] != "]":
        if items:
            at = _comma(source, at, closing="]")
        items.append(_value(source, at, depth + 1))
        at = _skip(source, items[-1].end)
    return Node(items, source, start, at + 1)


def _scalar(source: str, at: int) -> Node:
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
    return Node(value, source, at, end)


def _comma(source: str, at: int, closing: str) -> int:
    """The place after the comma that must stand at *at*."""
    if source[at : at + 1] != ",":
        _refuse(f'"," or "{closing}" is missing', source, at)
    following = _skip(source, at + 1)
    if source[following : following + 1] == closing:
        _refuse(f'a comma stands before "{closing}"', source, at)
    return following


def _skip(source: str, at: int) -> int:
    space = _SPACE.match(source, at)
    assert space is not None  # the pattern matches the empty string
    return space.end()


def _refuse(reason: str, source: str, at: int) -> NoReturn:
    raise BadJson(reason, source.count("\n", 0, at) + 1)
