"""Which pipelines start which: the triggers of one pipeline, and the graph of all."""

from __future__ import annotations

from typing import Literal, TypeAlias

from fastflow_api.shapes.base import Shape
from fastflow_api.shapes.runs import RunMark

Source: TypeAlias = Literal["json", "api", "both"]


class DownstreamTrigger(Shape, frozen=True, kw_only=True):
    """What to start after the last attempt of a run."""

    id: str
    pipeline: str
    """The pipeline to start."""
    on_success: bool
    on_failure: bool
    run_config_id: str | None
    on_route: str | None
    """Only after a run that wrote this label; null: after any run."""
    needs_artifacts: bool
    """It finds the run's artifacts."""
    source: Source
    """Where it is defined: the pipeline's metadata, the API, or both."""


class Node(Shape, frozen=True, kw_only=True):
    """A pipeline, or a name in a trigger without such a pipeline."""

    name: str
    exists: bool
    runnable: bool
    """It has a valid version and is enabled."""
    last_run: RunMark | None


class Edge(Shape, frozen=True, kw_only=True):
    """One downstream trigger."""

    id: str
    """Unique among the triggers of ``upstream``."""
    upstream: str
    downstream: str
    on_success: bool
    on_failure: bool
    run_config_id: str | None
    on_route: str | None
    """Only after a run that wrote this label; null: after any run."""
    needs_artifacts: bool
    """It finds the run's artifacts."""
    source: Source
    in_cycle: bool
    """Whether it is part of a cycle."""
    problem: str | None
    """Why it cannot start anything now."""


class Graph(Shape, frozen=True, kw_only=True):
    """All pipelines and all triggers between them."""

    nodes: tuple[Node, ...]
    """By name."""
    edges: tuple[Edge, ...]
    cycles: tuple[tuple[str, ...], ...]
    """One cycle for each group of pipelines that start each other: each starts the next, the last the first."""
