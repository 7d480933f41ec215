"""The newest skips (starts that were refused), by pipeline and by the run whose end asked for them.

A data structure: no I/O. A pipeline with skips all day does not push out those of another pipeline or of a run.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from cachetools import LRUCache

from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.messages import SkipRecord

EACH_MAX: Final = 20
"""Skips kept for one pipeline, and for one run."""
PLACES_MAX: Final = 2_000
"""Pipelines and runs that are kept; beyond that the least recently used is forgotten."""


class Skips:
    """The newest skips. ``put`` every entry, oldest first."""

    def __init__(self) -> None:
        self._places: LRUCache[tuple[str, str], deque[SkipRecord]] = LRUCache(PLACES_MAX)

    def put(self, skip: SkipRecord) -> None:
        self._note(("pipeline", skip.pipeline), skip)
        if skip.parent_run_id is not None:
            self._note(("run", skip.parent_run_id), skip)

    def of(self, pipeline: PipelineName, number: int) -> list[SkipRecord]:
        """The newest *number* skips of *pipeline*, newest first."""
        return list(self._places.get(("pipeline", pipeline), ()))[:number]

    def after(self, run_id: RunId, number: int) -> list[SkipRecord]:
        """The newest *number* skips that the end of this run asked for, newest first."""
        return list(self._places.get(("run", run_id), ()))[:number]

    def clear(self) -> None:
        self._places.clear()

    def _note(self, place: tuple[str, str], skip: SkipRecord) -> None:
        self._places.setdefault(place, deque(maxlen=EACH_MAX)).appendleft(skip)
