"""Writing to the bus what a sync found: bundles, pipeline records, the status. I/O only; ``record`` decides.

Every write is a compare-and-set on what was decided from, and a bundle is stored before a record names it: syncers
may do the same at once, and may die between any two steps.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import Final, NamedTuple, TypeAlias

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.bucket import Loaded
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import Conflict
from fastflow_contracts.bus.objects import ObjectStore
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.bundle import Bundle
from fastflow_contracts.pipelines.records import PipelineRecord, SyncReport
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_syncer.errors import SyncerError
from fastflow_syncer.history import with_report
from fastflow_syncer.record import Action, RecordChange

TRIES_MAX: Final = 8
"""Rounds of load, decide, compare-and-set; each lost one means that another writer won."""

StoredRecord: TypeAlias = Loaded[PipelineRecord]
"""A record and its revision. Without a record: 0 where there never was one, else it is unreadable or deleted."""
NOTHING: Final[StoredRecord] = Loaded(None, 0)


class Contended(SyncerError):
    """Others kept writing the same record."""


class Written(NamedTuple):
    """What was done to a record, and what stands now."""

    action: Action
    now: StoredRecord
    is_new: bool


class Publisher:
    """What the syncer writes to the bus."""

    def __init__(self, bus: Bus) -> None:
        self._pipelines = PipelineStore(bus)
        self._bundles = ObjectStore(bus)

    async def records(self) -> dict[str, StoredRecord]:
        """What is stored for each pipeline by name, unreadable and deleted records included."""
        found: dict[str, StoredRecord] = {}
        async with aclosing(self._pipelines.records.once()) as batches:
            async for batch in batches:
                # An unreadable record is useless, so the source overwrites it.
                found |= {each.name: Loaded(None, each.revision) for each in batch.unread if each.name is not None}
                found |= {each.name: Loaded(each.value, each.revision) for each in batch.changes}
        return found

    async def upload(self, bundle: Bundle) -> None:
        """Store a bundle unless it is there. Raises ``BusError``."""
        await self._bundles.put(bundle.sha256, bundle.data)

    async def change(
        self, name: PipelineName, known: StoredRecord, decide: Callable[[PipelineRecord | None], RecordChange]
    ) -> Written:
        """Write what *decide* makes of the record, the *known* one first. Raises ``Contended``, ``BusError``."""
        for _ in range(TRIES_MAX):
            change = decide(known.value)
            if change.record is None:
                return Written(change.action, known, is_new=False)
            try:
                revision = await self._pipelines.records.put(name, change.record, expect=known.revision)
            except Conflict:
                known = await self._pipelines.records.load(name)
            else:
                return Written(change.action, Loaded(change.record, revision), is_new=True)
        raise Contended(f"{name}: others keep writing its record; it is tried again at the next sync.")

    async def remember(self, report: SyncReport) -> None:
        """Add a report to the stored status, which begins anew if it cannot be read. Raises ``BusError``."""
        await self._pipelines.sync_status.change(subjects.SYNC_STATUS_KEY, lambda status: with_report(status, report))
