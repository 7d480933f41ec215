"""Which pipelines start which: the triggers of one pipeline, and the graph of all."""

from __future__ import annotations

from typing import Literal, TypeAlias

from fastflow_api.shapes.base import Shape
from fastflow_api.shapes.runs import RunMark

Source: TypeAlias = Literal["json", "api", "both"]


class DownstreamTrigger(Shape, frozen=True, kw_only=True):
    """When a run of one pipeline is done for good, start this."""

    id: str
    pipeline: str
    """What is started."""
    on_success: bool
    on_failure: bool
    run_config_id: str | None
    source: Source
    """Where it is written down: the pipeline's metadata, the API, or both."""


class Node(Shape, frozen=True, kw_only=True):
    """A pipeline, or a name that a trigger gives and nothing has."""

    name: str
    exists: bool
    runnable: bool
    """There is a good version and it is enabled."""
    last_run: RunMark | None


class Edge(Shape, frozen=True, kw_only=True):
    """One downstream trigger."""

    id: str
    """Unique among those of ``upstream``."""
    upstream: str
    downstream: str
    on_success: bool
    on_failure: bool
    run_config_id: str | None
    source: Source
    in_cycle: bool
    """It is part of a circle."""
    problem: str | None
    """Why it starts nothing as things are."""


class Graph(Shape, frozen=True, kw_only=True):
    """All pipelines and all triggers between them."""

    nodes: tuple[Node, ...]
    """By name."""
    edges: tuple[Edge, ...]
    cycles: tuple[tuple[str, ...], ...]
    """One circle of each group of pipelines that start each other: each starts the next, the last the first."""
