"""Writing to the bus what a sync found: bundles, pipeline records, the status. I/O only; ``record`` decides.

Every write is a compare-and-set on what was decided from, and a bundle is stored before a record names it: syncers
may do the same at once, and may die between any two steps.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from contextlib import aclosing
from typing import Final, NamedTuple

import msgspec

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus, Entry
from fastflow_contracts.bus.errors import Conflict
from fastflow_contracts.codec import Malformed
from fastflow_contracts.names import BadToken, PipelineName, text_of
from fastflow_contracts.pipelines.bundle import Bundle
from fastflow_contracts.pipelines.records import PIPELINE, SYNC_STATUS, PipelineRecord, SyncReport, SyncStatus
from fastflow_syncer.errors import SyncerError
from fastflow_syncer.history import with_report
from fastflow_syncer.listing import newest
from fastflow_syncer.record import Action, Change

log = logging.getLogger(__name__)

TRIES_MAX: Final = 8
"""Rounds of load, decide, compare-and-set; each lost one means that another writer won."""


class Contended(SyncerError):
    """Others kept writing the same record."""


class Stored(NamedTuple):
    """A record and its revision. Without a record: 0 where there never was one, else it is unreadable or deleted."""

    record: PipelineRecord | None
    revision: int


class Written(NamedTuple):
    """What was done to a record, and what stands now."""

    action: Action
    now: Stored
    is_new: bool


NOTHING: Final = Stored(None, 0)


class Publisher:
    """The syncer's hand on the bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def records(self) -> dict[str, Stored]:
        """What is stored for each pipeline by name, unreadable and deleted records included."""
        found: dict[str, Stored] = {}
        subject = f"$KV.{subjects.PIPELINES}.{subjects.PIPELINE_KEYS}"
        async with aclosing(newest(self._bus, streams.bucket_stream(subjects.PIPELINES), subject)) as entries:
            async for entry in entries:
                key = entry.subject.removeprefix(f"$KV.{subjects.PIPELINES}.")
                try:
                    name = text_of(key.removeprefix("pipeline."))
                except BadToken as error:
                    log.warning("record %s is nobody's: %s", key, error)
                else:
                    found[name] = _stored(entry.data, entry.sequence, key)
        return found

    async def upload(self, bundle: Bundle) -> None:
        """Store a bundle unless it is there. Raises ``BusError``."""
        await self._bus.put_object(subjects.BUNDLES, bundle.sha256, bundle.data)

    async def change(
        self, name: PipelineName, known: Stored, decide: Callable[[PipelineRecord | None], Change]
    ) -> Written:
        """Write what *decide* makes of the record, the *known* one first. Raises ``Contended``, ``BusError``."""
        key = subjects.pipeline_key(name)
        for _ in range(TRIES_MAX):
            change = decide(known.record)
            if change.record is None:
                return Written(change.action, known, is_new=False)
            record = msgspec.structs.replace(change.record, write_id=uuid.uuid4().hex)
            try:
                revision = await self._bus.put(subjects.PIPELINES, key, PIPELINE.encode(record), expect=known.revision)
            except Conflict:
                known = _of(await self._bus.get(subjects.PIPELINES, key))
            else:
                return Written(change.action, Stored(record, revision), is_new=True)
        raise Contended(f"{name}: others keep writing its record; it is tried again at the next sync.")

    async def remember(self, report: SyncReport) -> None:
        """Add a report to the stored status. Raises ``Contended``, ``BusError``."""
        for _ in range(TRIES_MAX):
            entry = await self._bus.get(subjects.PIPELINES, subjects.SYNC_STATUS_KEY)
            status = with_report(_status(entry), report)
            status = msgspec.structs.replace(status, write_id=uuid.uuid4().hex)
            try:
                await self._bus.put(
                    subjects.PIPELINES,
                    subjects.SYNC_STATUS_KEY,
                    SYNC_STATUS.encode(status),
                    expect=entry.revision if entry is not None else 0,
                )
            except Conflict:
                continue
            return
        raise Contended("others keep writing the status of syncs; this report is not kept.")


def _of(entry: Entry | None) -> Stored:
    return NOTHING if entry is None else _stored(entry.value, entry.revision, entry.key)


def _stored(data: bytes, revision: int, where: str) -> Stored:
    if not data:
        return Stored(None, revision)
    try:
        return Stored(PIPELINE.decode(data), revision)
    except Malformed as error:
        # Nobody can use it, so it is overwritten by what the source says.
        log.warning("record %s cannot be read: %s", where, error)
        return Stored(None, revision)


def _status(entry: Entry | None) -> SyncStatus | None:
    try:
        return None if entry is None else SYNC_STATUS.decode(entry.value)
    except Malformed as error:
        log.warning("the status of syncs begins anew: %s", error)
        return None
