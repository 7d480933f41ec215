"""Sandboxes have unique names, and are found again with their labels."""

from __future__ import annotations

import pytest

from fastflow_runner.sandbox import AlreadyExists, Missing
from tests.sandbox_contract.place import Place


class ListingContract:
    async def test_a_name_is_taken_once(self, place: Place) -> None:
        """A second sandbox of a name is refused until the first is removed; removing it twice does no harm."""
        spec = place.spec()
        channel = await place.sandboxes.open(spec)
        with pytest.raises(AlreadyExists):
            await place.sandboxes.open(spec)
        assert [held.name for held in await place.sandboxes.held()] == [spec.name]
        await channel.close()
        await place.sandboxes.remove(spec.name)
        await place.sandboxes.remove(spec.name)
        assert await place.sandboxes.held() == ()
        await (await place.sandboxes.open(spec)).close()

    async def test_labels_come_back(self, place: Place) -> None:
        """A later runner finds the labels of a sandbox; one that is gone is Missing."""
        channel = await place.open(labels={"fastflow.run": "r1", "fastflow.epoch": "7"})
        (held,) = await place.sandboxes.held()
        assert (held.labels["fastflow.run"], held.labels["fastflow.epoch"], held.running) == ("r1", "7", True)
        await channel.close()
        await place.sandboxes.remove(held.name)
        with pytest.raises(Missing):
            await place.sandboxes.attach(held)
