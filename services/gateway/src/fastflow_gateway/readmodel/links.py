"""The links made through the API, by pipeline. A data structure: no I/O.

The links of the metadata are in the pipelines' records; ``merged`` combines both.
"""

from __future__ import annotations

from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.links import Link, LinkSet, merged
from fastflow_contracts.pipelines.records import PipelineRecord


class Links:
    """Links by pipeline. ``put`` every version of every set; older versions than the known one are ignored."""

    def __init__(self) -> None:
        self._sets: dict[PipelineName, tuple[tuple[Link, ...], int]] = {}

    def put(self, pipeline: PipelineName, stored: LinkSet, revision: int) -> None:
        if revision > self._sets.get(pipeline, ((), 0))[1]:
            self._sets[pipeline] = (stored.links, revision)

    def made(self, pipeline: PipelineName) -> tuple[Link, ...]:
        """The links of *pipeline* that the API made."""
        return self._sets.get(pipeline, ((), 0))[0]

    def of(self, record: PipelineRecord) -> tuple[Link, ...]:
        """All links of a pipeline, each target once."""
        return merged(record.live.spec.downstream_triggers if record.live else (), self.made(record.name))

    def clear(self) -> None:
        self._sets.clear()
