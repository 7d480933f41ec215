"""Draws the graph of which pipeline starts which: boxes and lines in pixels. Pure.

``graph`` has the nodes and edges, ``graph_layout`` places them, ``graph_words`` names them. This module sizes the
boxes, draws the lines, and puts several groups on one sheet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from fastflow_gateway.dashboard.view.graph_layout import BOX_HEIGHT, GraphLayout, Link, arrange, groups
from fastflow_gateway.dashboard.view.graph_words import kind, label, node_words, sentence
from fastflow_gateway.views.graph import Edge, Graph, Node

BOXES_MAX: Final = 300
"""A larger graph is only listed, not drawn."""
KEPT_MAX: Final = 64
"""Cached layouts: they change only with the links, not with every run."""
SHEET_WIDTH: Final = 1140.0
"""Groups are placed side by side up to this width."""
GROUP_GAP: Final = 44.0
COLUMN_GAP: Final = 66.0
BOX_WIDTH_MIN: Final = 136.0
BOX_WIDTH_MAX: Final = 256.0
NAME_CHARACTERS_MAX: Final = 28
LABEL_CHARACTERS_MAX: Final = 20
CHARACTER_WIDTH: Final = 7.4
"""Approximate width of a character in a name."""
LABEL_CHARACTER_WIDTH: Final = 6.4
MARGIN: Final = 3.0
"""Margin around the sheet: half of an outline is outside its box."""
TURN: Final = 7.0
"""Radius of corners, and distance between the lanes of backward lines."""
HEAD: Final = 7.0
PORT_GAP: Final = 15.0


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """One pipeline."""

    node: Node
    x: float
    y: float
    width: float
    height: float = BOX_HEIGHT
    text: str
    words: str


class DrawnLine(msgspec.Struct, frozen=True, kw_only=True):
    """One trigger: a path, and a head at its end. ``label_x`` is where the label ends."""

    edge: Edge
    kind: str
    path: str
    head: str
    words: str
    label: str = ""
    label_x: float = 0
    label_y: float = 0


class Drawing(msgspec.Struct, frozen=True, kw_only=True):
    """All groups of linked pipelines on one sheet."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[DrawnLine, ...]


def drawing(graph: Graph) -> Drawing | None:
    """Draw *graph*; None if nothing is linked, or if it has more than ``BOXES_MAX`` boxes."""
    linked = {name for edge in graph.edges for name in (edge.upstream, edge.downstream)}
    if not linked or len(linked) > BOXES_MAX:
        return None
    nodes = {node.name: node for node in graph.nodes}
    boxes: list[Box] = []
    lines: list[DrawnLine] = []
    left = top = bottom = right = 0.0
    for names in groups(linked, [(edge.upstream, edge.downstream) for edge in graph.edges]):
        edges = [edge for edge in graph.edges if edge.upstream in names]
        sheet = _Sheet(_arranged(names, tuple(sorted({(e.upstream, e.downstream) for e in edges}))), edges)
        if left and left + sheet.width > SHEET_WIDTH:
            left, top = 0.0, bottom + GROUP_GAP
        boxes += sheet.boxes(nodes, left + MARGIN, top + MARGIN)
        lines += sheet.lines(left + MARGIN, top + MARGIN)
        right, bottom = max(right, left + sheet.width), max(bottom, top + sheet.height)
        left += sheet.width + GROUP_GAP
    return Drawing(
        width=round(right + 2 * MARGIN), height=round(bottom + 2 * MARGIN), boxes=tuple(boxes), lines=tuple(lines)
    )


@lru_cache(maxsize=KEPT_MAX)
def _arranged(names: tuple[str, ...], links: tuple[Link, ...]) -> GraphLayout:
    return arrange(names, links)


class _Sheet:
    """One group: the positions of its columns, and where lines leave and enter its boxes."""

    def __init__(self, layout: GraphLayout, edges: Sequence[Edge]) -> None:
        self._layout = layout
        self._edges = edges
        self._column = {name: number for number, names in enumerate(layout.columns) for name in names}
        self._back = [edge for edge in edges if (edge.upstream, edge.downstream) in layout.back]
        lanes = (len(self._back) + 1) * TURN if self._back else 0.0
        self._widths = [max(map(_box_width, names)) for names in layout.columns]
        self._left = [2 * lanes]
        for number, width in enumerate(self._widths[:-1], start=1):
            self._left.append(self._left[-1] + width + COLUMN_GAP + self._label_room(number) + lanes)
        self.width = self._left[-1] + self._widths[-1] + 2 * lanes
        self.height = layout.height + (lanes + 2 * TURN if self._back else 0.0)
        self._ports = _ports(edges, layout)

    def boxes(self, nodes: dict[str, Node], x: float, y: float) -> Iterable[Box]:
        for names in self._layout.columns:
            for name in names:
                node = nodes[name]
                yield Box(
                    node=node,
                    x=_px(x + self._left[self._column[name]]),
                    y=_px(y + self._layout.y[name] - BOX_HEIGHT / 2),
                    width=self._widths[self._column[name]],
                    text=_cut(name, NAME_CHARACTERS_MAX),
                    words=node_words(node),
                )

    def lines(self, x: float, y: float) -> Iterable[DrawnLine]:
        for edge in self._edges:
            source, target = self._column[edge.upstream], self._column[edge.downstream]
            out_y = y + self._layout.y[edge.upstream] + self._ports[edge.upstream, True, kind(edge)]
            in_y = y + self._layout.y[edge.downstream] + self._ports[edge.downstream, False, edge.run_config_id or ""]
            out_x = x + self._left[source] + self._widths[source]
            in_x = x + self._left[target] - HEAD + 1
            text = _cut(label(edge), LABEL_CHARACTERS_MAX)
            if (edge.upstream, edge.downstream) in self._layout.back:
                lane = (self._back.index(edge) + 1) * TURN
                low = y + self._layout.height + lane + TURN
                path = _around(out_x, out_y, in_x, in_y, low, lane + TURN)
            else:
                passed = self._layout.passes[edge.upstream, edge.downstream]
                columns = range(source + 1, target)
                path = _through(
                    out_x,
                    out_y,
                    [
                        (x + self._left[c], x + self._left[c] + self._widths[c], y + at)
                        for c, at in zip(columns, passed, strict=True)
                    ],
                    in_x - len(text) * LABEL_CHARACTER_WIDTH,
                    in_y,
                )
                path += f"H{_px(in_x)}" if text else ""
            yield DrawnLine(
                edge=edge,
                kind=kind(edge),
                path=path,
                head=f"M{_px(in_x)} {_px(in_y - HEAD / 2)}l{HEAD:g} {HEAD / 2:g}l-{HEAD:g} {HEAD / 2:g}z",
                words=sentence(edge),
                label=text,
                label_x=_px(in_x - 4),
                label_y=_px(in_y - 5),
            )

    def _label_room(self, column: int) -> float:
        """Room left of *column* for the names of configurations on incoming lines."""
        labels = [label(edge) for edge in self._edges if self._column[edge.downstream] == column]
        longest = max((len(_cut(each, LABEL_CHARACTERS_MAX)) for each in labels), default=0)
        return longest * LABEL_CHARACTER_WIDTH


def _ports(edges: Sequence[Edge], layout: GraphLayout) -> dict[tuple[str, bool, str], float]:
    """Where lines leave (True: by kind) and enter (False: by configuration) a box, relative to its middle."""
    far: dict[tuple[str, bool], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for edge in edges:
        far[edge.upstream, True][kind(edge)].append(layout.y[edge.downstream])
        far[edge.downstream, False][edge.run_config_id or ""].append(layout.y[edge.upstream])
    ports: dict[tuple[str, bool, str], float] = {}
    for (name, leaves), ends in far.items():
        # Ordered by their other ends, so that the lines of one box do not cross right away.
        ordered = sorted(ends, key=lambda port: (sum(ends[port]) / len(ends[port]), port))
        gap = min(PORT_GAP, (BOX_HEIGHT - 12) / max(1, len(ordered) - 1))
        for index, port in enumerate(ordered):
            ports[name, leaves, port] = (index - (len(ordered) - 1) / 2) * gap
    return ports


def _through(x: float, y: float, columns: Iterable[tuple[float, float, float]], end_x: float, end_y: float) -> str:
    """A path from left to right, horizontal where it passes a column (its left and right edge, the height)."""
    path = f"M{_px(x)} {_px(y)}"
    for left, right, at in columns:
        path += f"{_curve(x, y, left, at)}H{_px(right)}"
        x, y = right, at
    return path + _curve(x, y, end_x, end_y)


def _curve(x: float, y: float, end_x: float, end_y: float) -> str:
    if abs(y - end_y) < 0.05:
        return f"H{_px(end_x)}"
    bend = (end_x - x) / 2
    return f"C{_px(x + bend)} {_px(y)} {_px(end_x - bend)} {_px(end_y)} {_px(end_x)} {_px(end_y)}"


def _around(x: float, y: float, end_x: float, end_y: float, low: float, out: float) -> str:
    """A path out to the right, down to *low*, back below everything, and up: *out* pixels beside both boxes."""
    r = TURN
    right, left = _px(x + out), _px(end_x - out)
    return (
        f"M{_px(x)} {_px(y)}H{_px(right - r)}q{r:g} 0 {r:g} {r:g}V{_px(low - r)}q0 {r:g} -{r:g} {r:g}"
        f"H{_px(left + r)}q-{r:g} 0 -{r:g} -{r:g}V{_px(end_y + r)}q0 -{r:g} {r:g} -{r:g}H{_px(end_x)}"
    )


def _box_width(name: str) -> float:
    return round(min(max(40 + CHARACTER_WIDTH * len(name), BOX_WIDTH_MIN), BOX_WIDTH_MAX))


def _cut(text: str, characters_max: int) -> str:
    return text if len(text) <= characters_max else f"{text[: characters_max - 1]}…"


def _px(value: float) -> float:
    return round(value, 1)
