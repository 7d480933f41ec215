"""Removes bundles that are no longer used. The rule is ``retirable``; the rest is I/O.

A bundle goes when it is old, no pipeline has it live and no run record names it, in two rounds in a row: a run
that was being created from a version that was just replaced is on record by then. How old it is, the bus knows, so
that two rounds soon after the start are enough: a syncer may be restarted every hour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Final

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.bus.objects import ObjectStore
from fastflow_contracts.clock import now
from fastflow_contracts.log import get_logger
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.runs.store import RunStore

log = get_logger(__name__)

KEPT_S: Final = 7 * 86_400.0
"""A bundle is kept at least this long after its upload."""
ROUND_S: Final = 6 * 3_600.0
SOON_S: Final = 300.0
"""Until the first round, and from one that found something unused to the next: longer than a run takes to be on record
after the version that it is created from was replaced.
"""
LOOK_S: Final = 600.0
"""How long one round may take."""


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
        self._bundles = ObjectStore(bus)
        self._before: frozenset[str] = frozenset()

    async def serve(self) -> None:
        """Run rounds until cancelled."""
        pause_s = SOON_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = ROUND_S
            try:
                async with asyncio.timeout(LOOK_S):
                    gone = await self.round(now())
                if self._before - gone:
                    pause_s = SOON_S
            except (BusError, TimeoutError) as error:
                log.warning("no bundle retired", error=str(error))

    async def round(self, at: datetime) -> frozenset[str]:
        """Remove the bundles that are unused at *at*. Returns their names."""
        uploaded = await self._bundles.uploaded()
        used = await self._used()
        if used is None:
            log.warning("no bundle retired", reason="an unreadable record may name any bundle")
            return frozenset()
        gone = retirable(uploaded, used, self._before, at)
        self._before = unused(uploaded, used, at)
        for name in sorted(gone):
            await self._bundles.delete(name)
            log.info("bundle retired", bundle=name)
        return gone

    async def _used(self) -> frozenset[str] | None:
        """The bundles that records name. None if one of them cannot be read: it may name any bundle."""
        used: set[str] = set()
        async with aclosing(PipelineStore(self._bus).records.once()) as pipelines:
            async for batch in pipelines:
                if batch.unread:
                    return None
                used |= {each.value.live.bundle for each in batch.changes if each.value and each.value.live}
        async with aclosing(RunStore(self._bus).records.once()) as runs:
            async for records in runs:
                if records.unread:
                    return None
                used |= {each.value.order.bundle for each in records.changes if each.value}
        return frozenset(used)
