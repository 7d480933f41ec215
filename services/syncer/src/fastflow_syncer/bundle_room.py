"""Makes room for a new bundle when the store gets full. ``evictable`` is the rule; the rest is I/O.

While there is plenty of room, bundles stay as ``retire`` leaves them. Above ``PRESSURE`` each pipeline has a quota, and
bundles that nothing needs go: first those that no record names, then those that only ended runs and the list of
versions name, of the pipeline with the most bytes first. A version whose bundle goes is listed no more. A bundle that a
live version or a run that is not over needs never goes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Final

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.objects import ObjectStore, Uploaded
from fastflow_contracts.bus.streams import object_stream
from fastflow_contracts.clock import now
from fastflow_contracts.log import get_logger
from fastflow_contracts.names import PipelineName
from fastflow_syncer.bundle_use import BundleUse, bundle_use
from fastflow_syncer.versions import VersionList

log = get_logger(__name__)

PIPELINE_BYTES_MAX: Final = 500_000_000
"""How much the bundles of one pipeline may take while the store is above ``PRESSURE``."""
PRESSURE: Final = 0.5
"""Share of the store's bytes above which quotas count."""
GRACE_S: Final = 60.0
"""Shortest time to keep a bundle: a record that names it may be on its way."""
PAUSE_S: Final = 5.0
"""What nothing needs must be so twice, this long apart: a run of a version that was just replaced has a record then."""
LOOK_S: Final = 300.0
"""Time limit of reading what is used."""


def evictable(
    stored: Mapping[str, Uploaded], use: BundleUse, *, pipeline_bytes_max: int, excess_bytes: int, at: datetime
) -> list[str]:
    """Return the bundles that may go, in their order.

    Args:
        stored: All bundles.
        use: Who names them.
        pipeline_bytes_max: The quota of each pipeline.
        excess_bytes: How much must go, besides what is over a quota.
        at: The current time.
    """
    owner = use.ended | use.needed
    taken: Counter[PipelineName] = Counter()
    for name, each in stored.items():
        if name in owner:
            taken[owner[name]] += each.size
    youngest = at - timedelta(seconds=GRACE_S)
    oldest_first = sorted(stored.items(), key=lambda item: item[1].at)
    free = [(name, each.size) for name, each in oldest_first if name not in use.needed and each.at < youngest]
    gone: list[str] = []

    def evict(name: str, size: int) -> None:
        nonlocal excess_bytes
        gone.append(name)
        excess_bytes -= size
        if name in owner:
            taken[owner[name]] -= size

    for name, size in free:
        if (pipeline := owner.get(name)) is None:
            if excess_bytes > 0:
                evict(name, size)
        elif taken[pipeline] > pipeline_bytes_max:
            evict(name, size)
    left = [(name, size) for name, size in free if name in owner and name not in gone]
    while excess_bytes > 0 and left:
        name, size = max(left, key=lambda item: taken[owner[item[0]]])  # the first of equals: the oldest
        left.remove((name, size))
        evict(name, size)
    return gone


class BundleRoom:
    """The room in the store of one bus."""

    def __init__(self, bus: Bus, *, pipeline_bytes_max: int = PIPELINE_BYTES_MAX) -> None:
        self._bus = bus
        self._bundles = ObjectStore(bus)
        self._versions = VersionList(bus)
        self._pipeline_bytes_max = pipeline_bytes_max
        self._before: tuple[BundleUse | None, float] = None, 0.0

    async def make(self, pipeline: PipelineName, size: int) -> str:
        """Make room for a bundle of *size* bytes of *pipeline*.

        Returns:
            Why there is none, with what to do; empty if there is.

        Raises:
            BusError: The bus fails.
        """
        fill, bytes_max = await self._fill(size)
        if fill <= PRESSURE:
            return ""
        try:
            async with asyncio.timeout(LOOK_S):
                use = await self._use()
                stored = await self._bundles.uploaded()
        except TimeoutError:
            raise Unavailable(f"the bus did not show within {LOOK_S:g} s which bundles are used.") from None
        if use is None:
            log.warning("bundles not evicted", reason="an unreadable record may name any bundle")
            return "" if fill <= 1 else _full("a record on the bus cannot be read, so nothing is removed")
        excess = int((fill - PRESSURE) * bytes_max)
        quota = max(0, self._pipeline_bytes_max - size)
        gone = evictable(stored, use, pipeline_bytes_max=quota, excess_bytes=excess, at=now())
        for name in gone:
            if name in use.ended:
                await self._versions.forget(use.ended[name], name)
            await self._bundles.delete(name)
            log.info("bundle evicted", bundle=name)
        kept = _bytes_of(pipeline, stored, use, gone)
        if kept and kept + size > self._pipeline_bytes_max:
            return (
                f"the live version of {pipeline} and those of its runs that are not over take {kept:,} bytes, and "
                f"{size:,} more are over its quota of {self._pipeline_bytes_max:,}: wait until those runs end, or make "
                "the folder smaller."
            )
        fill, _ = await self._fill(size)
        return "" if fill <= 1 else _full("the versions that are live and those of runs that are not over fill it")

    async def _use(self) -> BundleUse | None:
        """Who needs what, now or a while ago. None if a record is unreadable."""
        clock = asyncio.get_running_loop().time
        before, looked_s = self._before
        if before is None or clock() - looked_s > LOOK_S:
            before, looked_s = await bundle_use(self._bus), clock()
        await asyncio.sleep(max(0.0, looked_s + PAUSE_S - clock()))
        use, at_s = await bundle_use(self._bus), clock()
        self._before = use, at_s
        if before is None or use is None:
            return None
        needed = before.needed | use.needed
        return BundleUse(needed, {name: each for name, each in use.ended.items() if name not in needed})

    async def _fill(self, size: int) -> tuple[float, int]:
        """How full the store will be with *size* bytes more, and its bound."""
        info = await self._bus.stream(object_stream(subjects.BUNDLES))
        bytes_max = info.config.max_bytes or 0
        return ((info.state.bytes + size) / bytes_max if bytes_max > 0 else 0.0), bytes_max


def _bytes_of(pipeline: PipelineName, stored: Mapping[str, Uploaded], use: BundleUse, gone: list[str]) -> int:
    owner = use.ended | use.needed
    removed: AbstractSet[str] = frozenset(gone)
    return sum(each.size for name, each in stored.items() if owner.get(name) == pipeline and name not in removed)


def _full(why: str) -> str:
    return f"the store of bundles is full, because {why}; remove pipelines, or make their folders smaller."
