"""Finds cycles among pipelines that start each other. Pure: it knows only names and what follows them."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence

Follows = Mapping[str, Collection[str]]
"""By name, the names that follow it. A name that nothing follows may be missing."""


def cyclic_groups(follows: Follows) -> list[frozenset[str]]:
    """The largest groups of names that all reach each other, sorted by first name.

    A name that follows itself is a group. (Tarjan's strongly connected components, without recursion.)
    """
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_names: list[str] = []
    is_open: set[str] = set()
    found: list[frozenset[str]] = []

    def enter(name: str) -> tuple[str, Iterator[str]]:
        index[name] = lowest[name] = len(index)
        open_names.append(name)
        is_open.add(name)
        return name, iter(sorted(follows.get(name, ())))

    for start in sorted(follows):
        path = [] if start in index else [enter(start)]
        while path:
            name, rest = path[-1]
            following = next(rest, None)
            if following is not None:
                if following not in index:
                    path.append(enter(following))
                elif following in is_open:
                    lowest[name] = min(lowest[name], index[following])
                continue
            path.pop()
            if path:
                above = path[-1][0]
                lowest[above] = min(lowest[above], lowest[name])
            if lowest[name] == index[name]:
                cut = open_names.index(name)
                group = frozenset(open_names[cut:])
                del open_names[cut:]
                is_open -= group
                if len(group) > 1 or name in follows.get(name, ()):
                    found.append(group)
    return sorted(found, key=min)


def cycle(group: Collection[str], follows: Follows) -> tuple[str, ...]:
    """A shortest cycle through the first name of *group*: each name once, the first name first."""
    first = min(group)
    came_from: dict[str, str] = {}
    waiting = deque([first])
    while waiting:
        name = waiting.popleft()
        for following in sorted(follows.get(name, ())):
            if following == first:
                return tuple(_way(first, name, came_from))
            if following in group and following not in came_from:
                came_from[following] = name
                waiting.append(following)
    raise AssertionError("a group has a cycle through each of its names")


def _way(first: str, last: str, came_from: Mapping[str, str]) -> Sequence[str]:
    way = [last]
    while way[-1] != first:
        way.append(came_from[way[-1]])
    return way[::-1]
