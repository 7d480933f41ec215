"""Pipelines on the bus: records, versions, links and the status of syncs. I/O only."""

from __future__ import annotations

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.bucket import Bucket
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.streams import WrongTopology
from fastflow_contracts.bus.subjects import VersionRef
from fastflow_contracts.names import BadToken, PipelineName
from fastflow_contracts.pipelines.links import LINK_SET, Link, LinkSet
from fastflow_contracts.pipelines.records import (
    PIPELINE,
    SYNC_STATUS,
    VERSION,
    PipelineRecord,
    SyncStatusRecord,
    VersionRecord,
    check_pipeline,
)
from fastflow_contracts.pipelines.versions import check_version, version_id


class PipelineStore:
    """Access to the pipelines of one bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.records: Bucket[PipelineName, PipelineRecord] = Bucket(
            bus,
            subjects.PIPELINES,
            PIPELINE,
            keys=subjects.PIPELINE_KEYS,
            key_of=subjects.pipeline_key,
            name_in=subjects.any_name_in_pipeline_key,
            check=check_pipeline,
            together=True,
        )
        self.versions: Bucket[VersionRef, VersionRecord] = Bucket(
            bus,
            subjects.PIPELINES,
            VERSION,
            keys=subjects.VERSION_KEYS,
            key_of=subjects.version_key,
            name_in=subjects.parse_version_key,
            check=check_version,
        )
        self.link_sets: Bucket[PipelineName, LinkSet] = Bucket(
            bus,
            subjects.LINKS,
            LINK_SET,
            keys=subjects.LINK_KEYS,
            key_of=subjects.links_key,
            name_in=subjects.parse_links_key,
        )
        self.sync_status: Bucket[str, SyncStatusRecord] = Bucket(
            bus, subjects.PIPELINES, SYNC_STATUS, keys=subjects.SYNC_STATUS_KEY, key_of=str, name_in=str
        )

    async def get(self, name: PipelineName) -> PipelineRecord | None:
        """Return the stored record, also of a removed pipeline; None without a record.

        Raises:
            Unreadable: The record cannot be decoded.
            BusError: The bus fails.
        """
        record = await self.records.get(name)
        return record.value if record else None

    async def version(self, name: PipelineName, version: str) -> VersionRecord | None:
        """Return a kept version by its id or its bundle; None: it is not kept, or its record cannot be read.

        Raises:
            BusError: The bus fails.
        """
        try:
            ref = VersionRef(name, version_id(version))
            return (await self.versions.load(ref)).value if version else None
        except BadToken:
            return None

    async def versions_of(self, name: PipelineName) -> list[VersionRecord]:
        """Return the kept versions of a pipeline, the newest first, without unreadable ones.

        Waits for the bus without a limit: set a timeout.
        """
        found = [record.value for record in await self.versions.items(subjects.version_keys_of(name))]
        return sorted(found, key=lambda each: each.deployed_at, reverse=True)

    async def installation(self) -> str:
        """Return the name of the installation, which was made with the streams.

        Raises:
            WrongTopology: There is none.
            BusError: The bus fails.
        """
        entry = await self._bus.get(subjects.PIPELINES, subjects.INSTALLATION_KEY)
        if entry is None:
            raise WrongTopology("the bus has no installation name; run `fastflow bus ensure` once.")
        return entry.value.decode(errors="replace")

    async def links_of(self, name: PipelineName) -> tuple[Link, ...]:
        """Return the links made through the API; empty if they are unreadable.

        Raises:
            BusError: The bus fails.
        """
        stored = (await self.link_sets.load(name)).value
        return stored.links if stored else ()

    async def listed(self) -> list[PipelineRecord]:
        """Return every pipeline that is not removed, sorted by name, without unreadable records."""
        found = [record.value for record in await self.records.items()]
        return sorted((record for record in found if record.removed_at is None), key=lambda record: record.name)
