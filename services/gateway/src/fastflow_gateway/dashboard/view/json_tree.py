"""JSON as a tree that folds: objects and lists inside the first one are closed at first. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from fastflow_gateway.dashboard.view import results, words

NODES_MAX: Final = 2_000
DEPTH_MAX: Final = 20
"""What lies deeper is shown in one line."""
TEXT_CHARACTERS_MAX: Final = 2_000


class JsonBranch(msgspec.Struct, frozen=True):
    """A value: either ``inside`` or a ``text``."""

    name: str
    """Of the member, as JSON; empty: it has none."""
    text: str
    """JSON in one line; of an object or a list, how much is in it."""
    inside: tuple[JsonBranch, ...] = ()


def tree(text: str) -> tuple[JsonBranch, bool]:
    """Return *text*, JSON, as a tree, and whether nodes are left out. Raises ``ValueError``, ``RecursionError``."""
    grower = _Grower()
    return grower.node("", results.parsed(text), 1), grower.is_cut


class _Grower:
    def __init__(self) -> None:
        self.is_cut = False
        self._left = NODES_MAX

    def node(self, name: str, value: Any, depth: int) -> JsonBranch:
        self._left -= 1
        if depth <= DEPTH_MAX and isinstance(value, dict) and value:
            members = ((results.compact(key), each) for key, each in value.items())
            return JsonBranch(name, f"{{ {_counted(len(value), 'member')} }}", self._inside(members, depth))
        if depth <= DEPTH_MAX and isinstance(value, list) and value:
            return JsonBranch(
                name, f"[ {_counted(len(value), 'item')} ]", self._inside((("", each) for each in value), depth)
            )
        text = words.plain(results.compact(value))
        if len(text) > TEXT_CHARACTERS_MAX:
            self.is_cut = True
            text = f"{text[:TEXT_CHARACTERS_MAX]}…"
        return JsonBranch(name, text)

    def _inside(self, members: Iterable[tuple[str, Any]], depth: int) -> tuple[JsonBranch, ...]:
        found = []
        for key, value in members:
            if self._left <= 0:
                self.is_cut = True
                break
            found.append(self.node(words.shown(key), value, depth + 1))
        return tuple(found)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
