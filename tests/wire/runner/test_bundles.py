"""The runner's cache of code: each bundle is fetched once while there is room for it."""

from __future__ import annotations

import pytest

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.objects import ObjectStore
from fastflow_contracts.pipelines.folder import bundle
from fastflow_contracts.pipelines.folder.bundle import Bundle, File
from fastflow_runner import bundles
from fastflow_runner.bundles import Bundles


async def stored(bus: Bus, text: str) -> Bundle:
    packed = bundle.pack({"main.py": File(text.encode(), False)})
    await ObjectStore(bus).put(packed.sha256, packed.data)
    return packed


async def test_the_least_recently_used_bundle_is_dropped(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dropped bundle that is no longer on the bus cannot be fetched; a kept one can."""
    first, second, third = [await stored(bus, f"print({n})") for n in range(3)]
    monkeypatch.setattr(bundles, "CACHE_BYTES_MAX", len(first.data) + len(second.data))
    cache = Bundles(bus)
    for each in (first, second, first, third):
        assert await cache.get(each.sha256) == each
    for each in (first, second, third):
        await ObjectStore(bus).delete(each.sha256)
    assert await cache.get(first.sha256) == first
    with pytest.raises(Exception, match=second.sha256[:8]):
        await cache.get(second.sha256)


async def test_a_bundle_larger_than_the_cache_is_fetched_each_time(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is used, and never kept."""
    monkeypatch.setattr(bundles, "CACHE_BYTES_MAX", 10)
    cache, large = Bundles(bus), await stored(bus, "print()")
    assert await cache.get(large.sha256) == large
    assert await cache.get(large.sha256) == large
