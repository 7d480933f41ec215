"""A cache for the code of runs: each bundle is fetched from the bus once and kept while it is in use. I/O."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.objects import ObjectStore
from fastflow_contracts.pipelines.folder.bundle import Bundle

CACHE_BYTES_MAX = 128 * 1024 * 1024


class Bundles:
    """Verified bundles by hash. Drops the least recently used first."""

    def __init__(self, bus: Bus) -> None:
        self._store = ObjectStore(bus)
        self._kept: OrderedDict[str, Bundle] = OrderedDict()
        self._size_bytes = 0
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, sha256: str) -> Bundle:
        """Fetch one bundle.

        Raises:
            Rejected: it is missing or damaged.
            Unavailable: the bus does not answer.
        """
        if sha256 in self._kept:
            self._kept.move_to_end(sha256)
            return self._kept[sha256]
        lock = self._locks.setdefault(sha256, asyncio.Lock())
        async with lock:
            if sha256 not in self._kept:
                self._keep(Bundle(data=await self._store.get(sha256), sha256=sha256))
            self._locks.pop(sha256, None)
            return self._kept[sha256]

    def _keep(self, bundle: Bundle) -> None:
        self._kept[bundle.sha256] = bundle
        self._size_bytes += len(bundle.data)
        while self._size_bytes > CACHE_BYTES_MAX and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._size_bytes -= len(dropped.data)
