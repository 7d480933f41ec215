"""Which pipelines start which, in the API's shapes: links of one pipeline, and the graph of all. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from fastflow_api.shapes import DownstreamTrigger, Edge, Graph, Node
from fastflow_contracts.pipelines.cycles import cycle, cyclic_groups
from fastflow_contracts.pipelines.format.spec import NoSuchRunConfig
from fastflow_contracts.pipelines.links import Link
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.runs.run import RunRecord
from fastflow_gateway.views import run_shapes

__all__ = ["DownstreamTrigger", "Edge", "Graph", "Node", "downstream_trigger", "graph", "problem"]


def downstream_trigger(link: Link) -> DownstreamTrigger:
    return DownstreamTrigger(
        id=link.id,
        pipeline=link.pipeline,
        on_success=link.on_success,
        on_failure=link.on_failure,
        run_config_id=link.run_config_id,
        on_route=link.on_route,
        needs_artifacts=link.needs_artifacts,
        source=link.source,
    )


def graph(
    records: Iterable[PipelineRecord],
    *,
    links_of: Callable[[PipelineRecord], Iterable[Link]],
    latest: Callable[[str], RunRecord | None],
) -> Graph:
    """Build the graph of all pipelines.

    Args:
        records: All pipelines.
        links_of: Returns the links of a pipeline.
        latest: Returns the newest run of a pipeline by name.
    """
    known: dict[str, PipelineRecord] = {record.name: record for record in records}
    links = [(name, link) for name, record in sorted(known.items()) for link in links_of(record)]
    follows: dict[str, set[str]] = defaultdict(set)
    for name, link in links:
        if link.applies:
            follows[name].add(link.pipeline)
    groups = cyclic_groups(follows)
    group_of = {name: number for number, group in enumerate(groups) for name in group}
    edges = tuple(
        Edge(
            id=link.id,
            upstream=name,
            downstream=link.pipeline,
            on_success=link.on_success,
            on_failure=link.on_failure,
            run_config_id=link.run_config_id,
            on_route=link.on_route,
            needs_artifacts=link.needs_artifacts,
            source=link.source,
            in_cycle=link.applies and group_of.get(name, -1) == group_of.get(link.pipeline),
            problem=problem(link, known),
        )
        for name, link in links
    )
    names = {*known, *(link.pipeline for _, link in links)}
    nodes = tuple(_node(name, known.get(name), latest(name)) for name in sorted(names))
    return Graph(nodes=nodes, edges=edges, cycles=tuple(cycle(group, follows) for group in groups))


def _node(name: str, record: PipelineRecord | None, newest: RunRecord | None) -> Node:
    return Node(
        name=name,
        exists=record is not None,
        runnable=record is not None and record.live is not None and record.live.spec.enabled,
        last_run=run_shapes.mark(newest) if newest else None,
    )


def problem(link: Link, known: Mapping[str, PipelineRecord]) -> str | None:
    """Why *link* cannot start anything now. *known*: the pipelines by name."""
    if not link.applies:
        return "on_success and on_failure are both false, so nothing starts it."
    target = known.get(link.pipeline)
    if target is None:
        return f"There is no pipeline {link.pipeline}."
    if target.live is None:
        return f"{link.pipeline} has no valid version."
    if not target.live.spec.enabled:
        return f"{link.pipeline} is disabled."
    try:
        target.live.spec.run_config(link.run_config_id)
    except NoSuchRunConfig as error:
        return str(error)
    return None
