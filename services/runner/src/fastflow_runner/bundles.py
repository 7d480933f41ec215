"""A cache for the code of runs: each bundle is fetched from the bus once and kept while it is in use. I/O."""

from __future__ import annotations

import asyncio
import contextlib

from cachetools import LRUCache

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.objects import ObjectStore
from fastflow_contracts.pipelines.folder.bundle import Bundle

CACHE_BYTES_MAX = 128 * 1024 * 1024


class Bundles:
    """Verified bundles by hash. Drops the least recently used first."""

    def __init__(self, bus: Bus) -> None:
        self._store = ObjectStore(bus)
        self._kept: LRUCache[str, Bundle] = LRUCache(CACHE_BYTES_MAX, getsizeof=lambda bundle: len(bundle.data))
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, sha256: str) -> Bundle:
        """Fetch one bundle.

        Raises:
            Rejected: it is missing or damaged.
            Unavailable: the bus does not answer.
        """
        if found := self._kept.get(sha256):
            return found
        async with self._locks.setdefault(sha256, asyncio.Lock()):
            found = self._kept.get(sha256)
            if found is None:
                found = Bundle(data=await self._store.get(sha256), sha256=sha256)
                with contextlib.suppress(ValueError):  # larger than the whole cache
                    self._kept[sha256] = found
            self._locks.pop(sha256, None)
            return found
