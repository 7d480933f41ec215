"""Which bundles may go, and removing them. The rule is ``retirable``; the rest asks the bus.

A bundle goes when it is old, no pipeline has it live and no run record names it, in two rounds in a row: a run
that was being created from a version that was just replaced is on record by then. How old it is, the bus knows, so
that two rounds soon after the start are enough: a syncer may be restarted every hour.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Final

import msgspec

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.clock import now
from fastflow_contracts.codec import Malformed
from fastflow_contracts.pipelines.records import PIPELINE
from fastflow_contracts.runs.run import RUN
from fastflow_syncer.listing import newest

log = logging.getLogger(__name__)

KEPT_S: Final = 7 * 86_400.0
"""A bundle is kept at least this long after its upload."""
ROUND_S: Final = 6 * 3_600.0
SOON_S: Final = 300.0
"""Until the first round, and from one that found something unused to the next: longer than a run takes to be on record
after the version that it is created from was replaced.
"""
LOOK_S: Final = 600.0
"""How long one round may take."""


class _Object(msgspec.Struct):
    """What the object store notes of an object; only what is asked here."""

    name: str
    deleted: bool = False


def retirable(
    uploaded: Mapping[str, datetime], used: AbstractSet[str], before: AbstractSet[str], at: datetime
) -> frozenset[str]:
    """Of *uploaded* those that are old and unused at *at*, and were so in the round *before*."""
    return unused(uploaded, used, at) & before


def unused(uploaded: Mapping[str, datetime], used: AbstractSet[str], at: datetime) -> frozenset[str]:
    """Of *uploaded* those that are old and unused at *at*."""
    oldest_kept = at - timedelta(seconds=KEPT_S)
    return frozenset(name for name, since in uploaded.items() if since < oldest_kept and name not in used)


class Retirement:
    """Removes bundles that nothing refers to. Two doing it at once is harmless."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._before: frozenset[str] = frozenset()

    async def serve(self) -> None:
        """A round now and then, until cancelled."""
        pause_s = SOON_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = ROUND_S
            try:
                async with asyncio.timeout(LOOK_S):
                    gone = await self.round(now())
                if self._before - gone:
                    pause_s = SOON_S
            except (BusError, Malformed, msgspec.DecodeError, TimeoutError) as error:
                # A record that cannot be read may name any bundle, so all of them stay.
                log.warning("no bundle retired: %s", error)

    async def round(self, at: datetime) -> frozenset[str]:
        """Remove what may go at *at* and return it."""
        uploaded = await self._uploaded()
        used = await self._used()
        gone = retirable(uploaded, used, self._before, at)
        self._before = unused(uploaded, used, at)
        for name in sorted(gone):
            await self._bus.delete_object(subjects.BUNDLES, name)
            log.info("bundle %s retired", name)
        return gone

    async def _uploaded(self) -> dict[str, datetime]:
        uploaded: dict[str, datetime] = {}
        subject = f"$O.{subjects.BUNDLES}.M.>"
        async with aclosing(newest(self._bus, streams.object_stream(subjects.BUNDLES), subject)) as notes:
            async for note in notes:
                about = msgspec.json.decode(note.data, type=_Object)
                if not about.deleted:
                    uploaded[about.name] = note.stored_at
        return uploaded

    async def _used(self) -> set[str]:
        used: set[str] = set()
        async with aclosing(self._records(subjects.PIPELINES, subjects.PIPELINE_KEYS)) as records:
            async for record in records:
                live = PIPELINE.decode(record).live
                if live is not None:
                    used.add(live.bundle)
        async with aclosing(self._records(subjects.RUNS, subjects.RUN_KEYS)) as records:
            async for record in records:
                used.add(RUN.decode(record).order.bundle)
        return used

    async def _records(self, bucket: str, keys: str) -> AsyncGenerator[bytes, None]:
        async with aclosing(newest(self._bus, streams.bucket_stream(bucket), f"$KV.{bucket}.{keys}")) as entries:
            async for entry in entries:
                if entry.data:
                    yield entry.data
