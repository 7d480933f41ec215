"""Removes unused bundles. ``retirable`` is the rule; the rest is I/O.

A bundle is removed when it is old, no pipeline has it live or lists it, and no run record names it, in two consecutive
rounds. By the second round, a run started from a version that was just replaced has a record. The bus knows the age of
a bundle, so two rounds soon after the start are enough, even if the syncer restarts every hour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Final

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.bus.objects import ObjectStore, Uploaded
from fastflow_contracts.clock import now
from fastflow_contracts.log import get_logger
from fastflow_syncer.bundle_use import bundle_use

log = get_logger(__name__)

KEPT_S: Final = 7 * 86_400.0
"""Shortest time to keep a bundle after its upload."""
ROUND_S: Final = 6 * 3_600.0
SOON_S: Final = 300.0
"""Pause before the first round, and after a round that found a new unused bundle.

It is longer than a run takes to get its record after its version was replaced.
"""
LOOK_S: Final = 600.0
"""Time limit of one round."""
ADVICE: Final = "see `fastflow bus unreadable`"


def retirable(
    uploaded: Mapping[str, Uploaded], used: AbstractSet[str], before: AbstractSet[str], at: datetime
) -> frozenset[str]:
    """Return the *uploaded* bundles that are old and unused at *at*, and in the set of the round *before*."""
    return unused(uploaded, used, at) & before


def unused(uploaded: Mapping[str, Uploaded], used: AbstractSet[str], at: datetime) -> frozenset[str]:
    """Return the *uploaded* bundles that are old and unused at *at*."""
    oldest_kept = at - timedelta(seconds=KEPT_S)
    return frozenset(name for name, each in uploaded.items() if each.at < oldest_kept and name not in used)


class Retirement:
    """Removes unused bundles. Several syncers can do it at once."""

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
                log.warning("bundles not retired", error=str(error))

    async def round(self, at: datetime) -> frozenset[str]:
        """Remove the bundles that are unused at *at*. Returns their names."""
        uploaded = await self._bundles.uploaded()
        use = await bundle_use(self._bus)
        if use is None:
            log.warning("bundles not retired", reason="an unreadable record may name any bundle", advice=ADVICE)
            return frozenset()
        used = use.needed.keys() | use.ended.keys()
        gone = retirable(uploaded, used, self._before, at)
        self._before = unused(uploaded, used, at)
        for name in sorted(gone):
            await self._bundles.delete(name)
            log.info("bundle retired", bundle=name)
        return gone
