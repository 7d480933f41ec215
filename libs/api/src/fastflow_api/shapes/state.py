"""The state of a pipeline: files that its runs hand on to the next one."""

from __future__ import annotations

from datetime import datetime

from fastflow_api.shapes.base import Shape


class StateVersion(Shape, frozen=True, kw_only=True):
    """One state that a pipeline had."""

    number: int
    is_current: bool
    at: datetime
    run_id: str | None
    """The run that left it; null: the state was reset."""
    attempt: int
    by: str
    """Who reset it: ``manual`` in the dashboard, ``api`` with the token; empty: nobody."""
    files: int
    size_bytes: int
    """Of all files together."""


class PipelineState(Shape, frozen=True, kw_only=True):
    """The states of a pipeline that are kept."""

    pipeline_name: str
    is_kept: bool
    """Whether the pipeline's runs get a state now."""
    versions: tuple[StateVersion, ...]
    """Newest first, at most 20; empty: the next run begins without files."""
