"""Lists and removes stored records that this version cannot read. I/O; ``bus.bucket`` decides what is unreadable."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any, Final, NamedTuple

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.bucket import Bucket
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import RevisionConflict
from fastflow_contracts.pipelines.pauses import pause_sets
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.runs.artifacts.store import ArtifactStore
from fastflow_contracts.runs.concurrency import chain_counts, limit_sets
from fastflow_contracts.runs.operations.store import OperationStore
from fastflow_contracts.runs.runners import presences
from fastflow_contracts.runs.store import RunStore
from fastflow_contracts.schedules.store import ScheduleStore
from fastflow_contracts.service.troubles import troubles
from fastflow_contracts.sessions.spent import SpentStore

LOOK_S: Final = 600.0
"""How long reading one kind of record may take."""


class UnreadableRecord(NamedTuple):
    """A record that nobody can use."""

    bucket: str
    key: str
    kind: str
    """What it should be."""
    revision: int


def _kinds(bus: Bus) -> Iterator[tuple[Bucket[Any, Any], str]]:
    """Every kind of record, each with the filter of its keys."""
    runs, pipelines, schedules, operations = RunStore(bus), PipelineStore(bus), ScheduleStore(bus), OperationStore(bus)
    buckets: tuple[Bucket[Any, Any], ...] = (
        *(runs.records, runs.inputs, ArtifactStore(bus).manifests),
        *(pipelines.records, pipelines.versions, pipelines.sync_status, pipelines.link_sets),
        *(schedules.states, schedules.switches, pause_sets(bus)),
        *(presences(bus), troubles(bus)),
        SpentStore(bus).records,
        *(operations.records, operations.items),
    )
    yield from ((bucket, bucket.keys) for bucket in buckets)
    yield limit_sets(bus), subjects.ALL_RUNNING
    yield limit_sets(bus), subjects.INSTANCES_KEYS
    yield chain_counts(bus), subjects.CHAIN_KEYS


async def unreadable_records(bus: Bus) -> list[UnreadableRecord]:
    """Return every unreadable record, by bucket and key. Raises ``BusError`` and ``TimeoutError``."""
    found: dict[tuple[str, str], UnreadableRecord] = {}
    for bucket, keys in _kinds(bus):
        async with asyncio.timeout(LOOK_S), aclosing(bucket.once(keys)) as batches:
            async for batch in batches:
                for each in batch.unread:
                    if not each.is_deleted:
                        record = UnreadableRecord(bucket.bucket, each.key, bucket.codec.name, each.revision)
                        found[record.bucket, record.key] = record
    return [found[place] for place in sorted(found)]


async def remove(bus: Bus, records: list[UnreadableRecord]) -> int:
    """Remove *records*, except those that were written again meanwhile. Returns how many. Raises ``BusError``."""
    removed = 0
    for record in records:
        try:
            await bus.delete(record.bucket, record.key, expect=record.revision)
        except RevisionConflict:
            continue
        removed += 1
    return removed
