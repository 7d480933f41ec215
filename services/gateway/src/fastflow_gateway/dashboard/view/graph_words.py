"""The graph of which pipeline starts which, in words: for lines, boxes, lists and screen readers. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from fastflow_gateway.dashboard.view import words
from fastflow_gateway.views.graph import DownstreamTrigger, Edge, Graph, Node


def when(edge: Edge | DownstreamTrigger) -> str:
    """After which result, and which route, the pipeline starts, and with what."""
    said = {"any": "after every run", "ok": "after success", "bad": "after failure", "never": "never"}[kind(edge)]
    said += "" if edge.on_route is None else f", on route {edge.on_route}"
    return f"{said}, with its artifacts" if edge.needs_artifacts else said


def kind(edge: Edge | DownstreamTrigger) -> str:
    """``any``, ``ok``, ``bad`` or ``never``: how its line looks."""
    if edge.on_success and edge.on_failure:
        return "any"
    return "ok" if edge.on_success else "bad" if edge.on_failure else "never"


def label(edge: Edge) -> str:
    """What stands at its line: the run configuration and the route, if there are any."""
    return " · ".join(text for text in (edge.run_config_id, edge.on_route) if text is not None)


def source(edge: Edge | DownstreamTrigger) -> str:
    """Where the trigger is defined."""
    return {"json": "pipeline.json", "api": "API", "both": "pipeline.json and API"}[edge.source]


def cycle_words(names: Sequence[str]) -> str:
    """``a → b → a``."""
    return " → ".join((*names, names[0]))


def sentence(edge: Edge) -> str:
    """The whole trigger as a sentence."""
    config = f" with {edge.run_config_id}" if edge.run_config_id is not None else ""
    said = f"{edge.upstream} starts {edge.downstream}{config} {when(edge)} ({source(edge)})"
    return f"{said}. {edge.problem}" if edge.problem else said


def description(graph: Graph) -> str:
    """The drawing as text, for screen readers."""
    linked = {name for edge in graph.edges for name in (edge.upstream, edge.downstream)}
    said = f"{_count(len(linked), 'pipeline')} and {_count(len(graph.edges), 'link')} between them."
    if graph.cycles:
        said += f" {_count(len(graph.cycles), 'cycle')}: {'; '.join(map(cycle_words, graph.cycles))}."
    return f"{said} Every link is also listed below."


def node_words(node: Node) -> str:
    """What stands in its box below the name."""
    if not node.exists:
        return "No such pipeline"
    if not node.runnable:
        return "Cannot start"
    return words.status_word(node.last_run.status) if node.last_run else "No runs yet"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
