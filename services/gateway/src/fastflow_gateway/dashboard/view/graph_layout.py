"""Places the boxes of a layered drawing so that lines run from left to right with few crossings. Pure.

Boxes are in columns, each one to the right of those that start it. Lines that would run back, in a cycle, are left
out here; the drawing leads them around below. (The steps are Sugiyama's: columns, order in them, heights.)
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

import msgspec

BOX_HEIGHT: Final = 52.0
ROW_GAP: Final = 22.0
"""Gap between boxes in one column."""
LINE_GAP: Final = 12.0
"""Gap beside a line that passes through a column."""
SWEEPS: Final = 8
"""Iterations that improve the order in the columns, and then the heights."""

Link: TypeAlias = tuple[str, str]
Spot: TypeAlias = str | tuple[str, str, int]
"""A box by its name, or the place where a long link passes through a column: the link and the column."""


class GraphLayout(msgspec.Struct, frozen=True, kw_only=True):
    """The layout of one group of linked names. ``y`` has the middles; the topmost edge is 0."""

    columns: tuple[tuple[str, ...], ...]
    """Names from left to right, each column from top to bottom."""
    y: dict[str, float]
    height: float
    passes: dict[Link, tuple[float, ...]]
    """For each forward link: its heights in the columns that it passes."""
    back: frozenset[Link]
    """Backward links, including those from a name to itself."""


def groups(names: Iterable[str], links: Iterable[Link]) -> list[tuple[str, ...]]:
    """Groups of linked names, the largest first; each group is sorted."""
    neighbours: dict[str, set[str]] = defaultdict(set)
    for one, other in links:
        neighbours[one].add(other)
        neighbours[other].add(one)
    seen: set[str] = set()
    found = []
    for name in sorted(names):
        if name in seen:
            continue
        group, waiting = {name}, [name]
        while waiting:
            more = neighbours[waiting.pop()] - group
            group |= more
            waiting += more
        seen |= group
        found.append(tuple(sorted(group)))
    return sorted(found, key=lambda group: (-len(group), group))


def arrange(names: Sequence[str], links: Iterable[Link]) -> GraphLayout:
    """Lay out one group of *names* that are linked by *links*."""
    links = sorted(set(links))
    back = _back(names, links)
    forward = [link for link in links if link not in back]
    column_of = _columns(names, forward)
    spots: list[list[Spot]] = [[] for _ in range(max(column_of.values()) + 1)]
    for name in sorted(names):
        spots[column_of[name]].append(name)
    before: dict[Spot, list[Spot]] = defaultdict(list)
    after: dict[Spot, list[Spot]] = defaultdict(list)
    for source, target in forward:
        passed: list[Spot] = [(source, target, c) for c in range(column_of[source] + 1, column_of[target])]
        for column, spot in enumerate(passed, start=column_of[source] + 1):
            spots[column].append(spot)
        way: list[Spot] = [source, *passed, target]
        for one, other in pairwise(way):
            after[one].append(other)
            before[other].append(one)
    ordered = _ordered(spots, before, after)
    y = _heights(ordered, before, after)
    top = min(y[spot] - _size(spot) / 2 for column in ordered for spot in column)
    bottom = max(y[spot] + _size(spot) / 2 for column in ordered for spot in column)
    return GraphLayout(
        columns=tuple(tuple(spot for spot in column if isinstance(spot, str)) for column in ordered),
        y={name: y[name] - top for name in names},
        height=bottom - top,
        passes={(s, t): tuple(y[s, t, c] - top for c in range(column_of[s] + 1, column_of[t])) for s, t in forward},
        back=back,
    )


def _back(names: Iterable[str], links: Sequence[Link]) -> frozenset[Link]:
    """The links that close a cycle in a walk from the names without incoming links."""
    after: dict[str, list[str]] = defaultdict(list)
    for source, target in links:
        after[source].append(target)
    reached = {target for _, target in links}
    back: set[Link] = set()
    seen: set[str] = set()
    for start in sorted(names, key=lambda name: (name in reached, name)):
        path = [] if start in seen else [(start, iter(after[start]))]
        on_path = {start}
        seen.add(start)
        while path:
            name, rest = path[-1]
            met = next(rest, None)
            if met is None:
                on_path.discard(name)
                path.pop()
            elif met in on_path:
                back.add((name, met))
            elif met not in seen:
                seen.add(met)
                on_path.add(met)
                path.append((met, iter(after[met])))
    return frozenset(back)


def _columns(names: Iterable[str], links: Sequence[Link]) -> dict[str, int]:
    """Columns as far left as predecessors allow. A name without predecessors is just left of its successors."""
    before: dict[str, set[str]] = {name: set() for name in names}
    after: dict[str, set[str]] = defaultdict(set)
    for source, target in links:
        before[target].add(source)
        after[source].add(target)
    missing = {name: len(sources) for name, sources in before.items()}
    ready = sorted(name for name, number in missing.items() if not number)
    column_of = dict.fromkeys(ready, 0)
    while ready:
        name = ready.pop()
        for target in sorted(after[name]):
            column_of[target] = max(column_of.get(target, 0), column_of[name] + 1)
            missing[target] -= 1
            if not missing[target]:
                ready.append(target)
    for name, sources in before.items():
        if not sources and after[name]:
            column_of[name] = min(column_of[target] for target in after[name]) - 1
    return column_of


def _ordered(
    columns: list[list[Spot]], before: Mapping[Spot, list[Spot]], after: Mapping[Spot, list[Spot]]
) -> list[list[Spot]]:
    """The order with the fewest crossings that sweeps back and forth find."""
    best, fewest = columns, _crossings(columns, after)
    current = columns
    for sweep in range(SWEEPS):
        if not fewest:
            break
        current = [list(column) for column in current]
        rightwards = sweep % 2 == 0
        steps = range(1, len(current)) if rightwards else range(len(current) - 2, -1, -1)
        for index in steps:
            place = {spot: n for n, spot in enumerate(current[index - 1 if rightwards else index + 1])}
            beside = before if rightwards else after
            middle = {
                spot: _mean([place[each] for each in beside.get(spot, ())], n) for n, spot in enumerate(current[index])
            }
            current[index].sort(key=middle.__getitem__)
        crossings = _crossings(current, after)
        if crossings < fewest:
            best, fewest = current, crossings
    return best


def _crossings(columns: Sequence[Sequence[Spot]], after: Mapping[Spot, list[Spot]]) -> int:
    count = 0
    for left, right in pairwise(columns):
        place = {spot: n for n, spot in enumerate(right)}
        passed: list[int] = []
        for spot in left:
            ends = [place[each] for each in after.get(spot, ())]
            count += sum(len(passed) - bisect_right(passed, end) for end in ends)
            for end in ends:
                insort(passed, end)
    return count


def _heights(
    columns: Sequence[Sequence[Spot]], before: Mapping[Spot, list[Spot]], after: Mapping[Spot, list[Spot]]
) -> dict[Spot, float]:
    """Heights as close to the mean of the neighbours as order and gaps allow."""
    y: dict[Spot, float] = {}
    for column in columns:
        y |= _spread(column, [0.0] * len(column))
    for sweep in range(SWEEPS):
        for column in columns if sweep % 2 == 0 else columns[::-1]:
            wanted = [_mean([y[each] for each in (*before.get(s, ()), *after.get(s, ()))], y[s]) for s in column]
            y |= _spread(column, wanted)
    return y


def _spread(column: Sequence[Spot], wanted: Sequence[float]) -> dict[Spot, float]:
    """Heights in order and with gaps, with the least squared distance from those *wanted*.

    Relative to the closest packing this is the nearest ascending sequence: neighbours that are out of order share
    their mean (pool adjacent violators).
    """
    offsets: list[float] = []
    at = 0.0
    for index, spot in enumerate(column):
        if index:
            at += (_size(column[index - 1]) + _size(spot)) / 2 + _gap(column[index - 1], spot)
        offsets.append(at)
    pools: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        pool = (want - offset, 1)
        while pools and pools[-1][0] > pool[0]:
            mean, size = pools.pop()
            pool = ((mean * size + pool[0] * pool[1]) / (size + pool[1]), size + pool[1])
        pools.append(pool)
    means = [mean for mean, size in pools for _ in range(size)]
    return {spot: mean + offset for spot, mean, offset in zip(column, means, offsets, strict=True)}


def _size(spot: Spot) -> float:
    return BOX_HEIGHT if isinstance(spot, str) else 0.0


def _gap(one: Spot, other: Spot) -> float:
    return ROW_GAP if isinstance(one, str) and isinstance(other, str) else LINE_GAP


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
