"""What a gateway keeps in memory."""

from __future__ import annotations

import gc

from fastflow_contracts.bus.client import Bus
from tests.support.gateway import running_gateway, store
from tests.support.records import a_run


async def test_what_was_read_at_the_start_is_left_out_of_garbage_collections(bus: Bus) -> None:
    """A full collection would make every answer wait while it visits the whole history."""
    for number in range(50):
        await store(bus, a_run(created=number))
    gc.unfreeze()
    try:
        async with running_gateway(bus):
            assert gc.get_freeze_count() > 10 * len(gc.get_objects(generation=2))
    finally:
        gc.unfreeze()
