"""The links that were made through the API, by the pipeline they belong to. A data structure: no I/O.

Links of the metadata are in the pipelines' records; ``merged`` brings the two together.
"""

from __future__ import annotations

from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.links import Link, LinkSet, merged
from fastflow_contracts.pipelines.records import PipelineRecord


class Links:
    """Put in every version of every set; an older version than the known one is ignored."""

    def __init__(self) -> None:
        self._sets: dict[PipelineName, tuple[tuple[Link, ...], int]] = {}

    def put(self, pipeline: PipelineName, stored: LinkSet, revision: int) -> None:
        if revision > self._sets.get(pipeline, ((), 0))[1]:
            self._sets[pipeline] = (stored.links, revision)

    def made(self, pipeline: PipelineName) -> tuple[Link, ...]:
        """Those of *pipeline* that were made through the API."""
        return self._sets.get(pipeline, ((), 0))[0]

    def of(self, record: PipelineRecord) -> tuple[Link, ...]:
        """All that pipeline's links, each target once."""
        return merged(record.live.spec.downstream_triggers if record.live else (), self.made(record.name))

    def clear(self) -> None:
        self._sets.clear()
