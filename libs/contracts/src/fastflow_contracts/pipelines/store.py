"""What the bus keeps of pipelines: their records, the links between them, the status of syncs. I/O only."""

from __future__ import annotations

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.bucket import Bucket
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.links import LINK_SET, Link, LinkSet
from fastflow_contracts.pipelines.records import PIPELINE, SYNC_STATUS, PipelineRecord, SyncStatus


class PipelineStore:
    """The pipelines of one bus."""

    def __init__(self, bus: Bus) -> None:
        self.records: Bucket[PipelineName, PipelineRecord] = Bucket(
            bus,
            subjects.PIPELINES,
            PIPELINE,
            keys=subjects.PIPELINE_KEYS,
            key_of=subjects.pipeline_key,
            name_in=subjects.any_name_in_pipeline_key,
        )
        self.link_sets: Bucket[PipelineName, LinkSet] = Bucket(
            bus,
            subjects.LINKS,
            LINK_SET,
            keys=subjects.LINK_KEYS,
            key_of=subjects.links_key,
            name_in=subjects.parse_links_key,
        )
        self.sync_status: Bucket[str, SyncStatus] = Bucket(
            bus, subjects.PIPELINES, SYNC_STATUS, keys=subjects.SYNC_STATUS_KEY, key_of=str, name_in=str
        )

    async def get(self, name: PipelineName) -> PipelineRecord | None:
        """The record as it is stored now, of a removed pipeline too; None: there is none.

        Raises ``Unreadable`` and what the bus raises.
        """
        record = await self.records.get(name)
        return record.value if record else None

    async def links_of(self, name: PipelineName) -> tuple[Link, ...]:
        """The links that were made through the API; none if they cannot be read. Raises what the bus raises."""
        stored = (await self.link_sets.load(name)).value
        return stored.links if stored else ()

    async def listed(self) -> list[PipelineRecord]:
        """Every pipeline that is there, by name; one whose record cannot be read is left out."""
        found = [record.value for record in await self.records.items()]
        return sorted((record for record in found if record.removed_at is None), key=lambda record: record.name)
