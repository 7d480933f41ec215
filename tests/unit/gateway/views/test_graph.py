"""The graph of pipelines: cycles, the places of boxes, and the drawing."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.cycles import cycle, cyclic_groups
from fastflow_contracts.pipelines.format.spec import DownstreamRule, PipelineSpec, ScheduleEntry
from fastflow_contracts.pipelines.links import merged
from fastflow_contracts.pipelines.records import PipelineRecord, Version
from fastflow_gateway.dashboard.view import graph_drawing, graph_words
from fastflow_gateway.dashboard.view.graph_layout import BOX_HEIGHT, LINE_GAP, ROW_GAP, arrange, groups
from fastflow_gateway.views.graph import Graph, graph
from tests.support.records import T0

NAMES = st.sampled_from("abcdefgh")
LINKS = st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=16)


def follows(links: list[tuple[str, str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for source, target in links:
        found[source].add(target)
    return found


def reached(name: str, after: dict[str, set[str]]) -> set[str]:
    """Return all names that come after *name*, directly or not."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        more = after.get(waiting.pop(), set()) - found
        found |= more
        waiting += more
    return found


def a_graph(**triggers: list[DownstreamRule | str]) -> Graph:
    """Pipelines by name with their downstream rules; a plain text is a target."""
    records = []
    for name, targets in triggers.items():
        links = tuple(DownstreamRule(pipeline=t) if isinstance(t, str) else t for t in targets)
        spec = PipelineSpec(downstream_triggers=links, schedules=(ScheduleEntry(id="full"),), enabled=name != "off")
        live = Version(bundle="b" * 64, spec=spec, live_since=T0)
        records.append(PipelineRecord(name=PipelineName(name), live=live, seen_at=T0))
    return graph(
        records,
        links_of=lambda record: merged(record.live.spec.downstream_triggers if record.live else (), ()),
        latest=lambda name: None,
    )


@given(LINKS)
def test_a_knot_has_all_names_that_reach_each_other(links: list[tuple[str, str]]) -> None:
    """Each name that comes after itself is in one group."""
    after = follows(links)
    by_name = {name: group for group in cyclic_groups(after) for name in group}
    for name in "abcdefgh":
        later = reached(name, after)
        expected = {other for other in later if name in reached(other, after)}
        assert by_name.get(name, frozenset()) == expected


@given(LINKS)
def test_a_knot_has_one_cycle(links: list[tuple[str, str]]) -> None:
    """Each name starts the next, the last starts the first, and none appears twice."""
    after = follows(links)
    for group in cyclic_groups(after):
        way = cycle(group, after)
        assert way[0] == min(group)
        assert len(set(way)) == len(way)
        assert all(target in after[source] for source, target in pairwise((*way, way[0])))


def test_a_long_chain_does_not_exhaust_the_stack() -> None:
    """A ring of five thousand is one group with one cycle."""
    ring = {str(n): {str((n + 1) % 5000)} for n in range(5000)}
    (group,) = cyclic_groups(ring)
    assert len(cycle(group, ring)) == 5000


@given(LINKS)
def test_boxes_stand_in_order_and_apart(links: list[tuple[str, str]]) -> None:
    """Links run to the right unless they close a cycle; in a column neither boxes nor lines overlap."""
    names = {name for link in links for name in link}
    for group in groups(names, links):
        mine = [link for link in links if link[0] in group]
        layout = arrange(group, mine)
        column = {name: number for number, column in enumerate(layout.columns) for name in column}
        assert set(column) == set(group)
        assert layout.back | set(layout.passes) == set(mine)
        for (source, target), heights in layout.passes.items():
            assert column[target] - column[source] == len(heights) + 1
        for number, boxes in enumerate(layout.columns):
            spots = [(layout.y[name], BOX_HEIGHT) for name in boxes]
            spots += [
                (heights[number - column[source] - 1], 0.0)
                for (source, target), heights in layout.passes.items()
                if column[source] < number < column[target]
            ]
            for (one, one_size), (other, other_size) in pairwise(sorted(spots)):
                gap = ROW_GAP if one_size and other_size else LINE_GAP
                assert other - one >= (one_size + other_size) / 2 + gap - 1e-6
            for at, size in spots:
                assert size / 2 - 1e-6 <= at <= layout.height - size / 2 + 1e-6


@given(LINKS)
def test_links_without_cycles_all_run_forward(links: list[tuple[str, str]]) -> None:
    """Only a cycle needs a link that runs back."""
    forward = [(source, target) for source, target in links if source < target]
    for group in groups({name for link in forward for name in link}, forward):
        assert not arrange(group, [link for link in forward if link[0] in group]).back


def test_a_straight_chain_is_drawn_straight() -> None:
    """One column each, all at one height."""
    layout = arrange(("a", "b", "c"), [("a", "b"), ("b", "c")])
    assert layout.columns == (("a",), ("b",), ("c",))
    assert len(set(layout.y.values())) == 1


def test_lines_do_not_cross_without_need() -> None:
    """The order in a column follows its neighbours."""
    layout = arrange(("a", "b", "x", "y"), [("a", "y"), ("b", "x"), ("a", "b")])
    (first, second, third) = layout.columns
    assert (first, set(second) | set(third)) == (("a",), {"b", "x", "y"})


@given(LINKS)
def test_the_drawing_has_every_box_and_line_within_its_sheet(links: list[tuple[str, str]]) -> None:
    """With any links, also to missing pipelines."""
    targets: dict[str, list[DownstreamRule | str]] = {"a": []}
    for source, target in links:
        targets.setdefault(source, []).append(DownstreamRule(pipeline=target, run_config_id="full"))
    whole = a_graph(**targets)
    drawn = graph_drawing.drawing(whole)
    assert drawn is not None
    assert {box.node.name for box in drawn.boxes} == {name for link in links for name in link}
    assert len(drawn.lines) == len(whole.edges) == len(set(links))
    assert all(box.x >= 0 and box.x + box.width <= drawn.width for box in drawn.boxes)
    assert all(box.y >= 0 and box.y + box.height <= drawn.height for box in drawn.boxes)


def test_an_edge_says_when_it_starts_a_run_and_why_not() -> None:
    """In words, with the place where it is defined and what prevents a start."""
    never = DownstreamRule(pipeline="b", on_success=False)
    whole = a_graph(
        a=[never, DownstreamRule(pipeline="b", run_config_id="half", on_failure=True), "gone", "off"],
        b=[DownstreamRule(pipeline="a", on_success=False, on_failure=True)],
        off=[],
    )
    assert [graph_words.kind(edge) for edge in whole.edges] == ["never", "any", "ok", "ok", "bad"]
    problems = [edge.problem for edge in whole.edges]
    assert problems[0] == "on_success and on_failure are both false, so nothing starts it."
    assert problems[1] is not None
    assert "no run configuration 'half'" in problems[1]
    assert problems[2:] == ["There is no pipeline gone.", "off is disabled.", None]
    assert graph_words.sentence(whole.edges[4]) == "b starts a after failure (pipeline.json)"
    assert [edge.in_cycle for edge in whole.edges] == [False, True, False, False, True]
    assert "1 cycle: a → b → a." in graph_words.description(whole)


def test_two_routes_to_one_pipeline_are_two_lines_with_their_labels() -> None:
    """The configuration and the route stand at the line, and the words say both."""
    whole = a_graph(
        a=[
            DownstreamRule(pipeline="b", on_route="good", run_config_id="full"),
            DownstreamRule(pipeline="b", on_route="bad", on_success=False, on_failure=True),
        ],
        b=[],
    )
    assert [graph_words.kind(edge) for edge in whole.edges] == ["ok", "bad"]
    assert [graph_words.label(edge) for edge in whole.edges] == ["full · good", "bad"]
    assert graph_words.sentence(whole.edges[1]) == "a starts b after failure, on route bad (pipeline.json)"
    drawn = graph_drawing.drawing(whole)
    assert drawn is not None
    assert {line.label for line in drawn.lines} == {"full · good", "bad"}


def test_unlinked_pipelines_are_not_drawn_and_too_many_are_only_listed() -> None:
    """A drawing has a bound; a list has none."""
    assert graph_drawing.drawing(a_graph(a=[], b=[])) is None
    many = {f"p{n}": [f"p{n + 1}"] for n in range(graph_drawing.BOXES_MAX)}
    assert graph_drawing.drawing(a_graph(**many)) is None  # type: ignore[arg-type]
