"""Writes the results of a sync to the bus: bundles, pipeline records, the status. I/O only; ``record`` decides.

Several syncers may work at once, and each may die between any two steps. So every write is a compare-and-set on the
revision that the decision used, and a bundle is stored before a record names it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import Final, NamedTuple, TypeAlias

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.bucket import Loaded
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import RevisionConflict
from fastflow_contracts.bus.objects import ObjectStore
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.folder.bundle import Bundle
from fastflow_contracts.pipelines.records import PipelineRecord, SyncReportRecord
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_syncer.bundle_room import PIPELINE_BYTES_MAX, BundleRoom
from fastflow_syncer.errors import SyncerError
from fastflow_syncer.history import with_report
from fastflow_syncer.record import Action, RecordChange
from fastflow_syncer.versions import KEPT_MAX, VersionList

TRIES_MAX: Final = 8
"""Attempts to load, decide and compare-and-set. An attempt fails when another writer wins."""

StoredRecord: TypeAlias = Loaded[PipelineRecord]
"""A record and its revision. Without a record, revision 0 means it never existed, else it is unreadable or deleted."""
NOTHING: Final[StoredRecord] = Loaded(None, 0)


class Contended(SyncerError):
    """Other syncers kept writing the same record."""


class Written(NamedTuple):
    """The action on a record, and the record as stored now."""

    action: Action
    now: StoredRecord
    is_new: bool


class Publisher:
    """Writes pipelines and reports to the bus."""

    def __init__(self, bus: Bus, *, pipeline_bytes_max: int = PIPELINE_BYTES_MAX, versions_max: int = KEPT_MAX) -> None:
        self.versions = VersionList(bus, kept_max=versions_max)
        self._room = BundleRoom(bus, pipeline_bytes_max=pipeline_bytes_max)
        self._pipelines = PipelineStore(bus)
        self._bundles = ObjectStore(bus)

    async def records(self) -> dict[str, StoredRecord]:
        """Return the stored records by pipeline name, including unreadable and deleted ones."""
        found: dict[str, StoredRecord] = {}
        async with aclosing(self._pipelines.records.once()) as batches:
            async for batch in batches:
                # An unreadable record is useless, so the source overwrites it.
                found |= {each.name: Loaded(None, each.revision) for each in batch.unread if each.name is not None}
                found |= {each.name: Loaded(each.value, each.revision) for each in batch.changes}
        return found

    async def upload(self, name: PipelineName, bundle: Bundle) -> str:
        """Store a bundle of the pipeline *name* if it is missing.

        Returns:
            Why there is no room for it; empty: it is stored.

        Raises:
            BusError: The bus fails.
        """
        if await self._bundles.is_stored(bundle.sha256, len(bundle.data)):
            return ""
        if why := await self._room.make(name, len(bundle.data)):
            return why
        await self._bundles.put(bundle.sha256, bundle.data)
        return ""

    async def change(
        self, name: PipelineName, known: StoredRecord, decide: Callable[[PipelineRecord | None], RecordChange]
    ) -> Written:
        """Write the record that *decide* returns, with retries after a conflict.

        Args:
            name: Name of the pipeline.
            known: The stored record as last read, for the first attempt.
            decide: Returns the change to the current record.

        Raises:
            Contended: Every attempt lost against another writer.
            BusError: The bus fails.
        """
        for _ in range(TRIES_MAX):
            change = decide(known.value)
            if change.record is None:
                return Written(change.action, known, is_new=False)
            try:
                revision = await self._pipelines.records.put(name, change.record, expect=known.revision)
            except RevisionConflict:
                known = await self._pipelines.records.load(name)
            else:
                return Written(change.action, Loaded(change.record, revision), is_new=True)
        raise Contended(f"{name}: other syncers keep writing its record; the next sync tries again.")

    async def remember(self, report: SyncReportRecord) -> None:
        """Add a report to the stored status; an unreadable status is replaced.

        Raises:
            BusError: The bus fails.
        """
        await self._pipelines.sync_status.change(subjects.SYNC_STATUS_KEY, lambda status: with_report(status, report))
