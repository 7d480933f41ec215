"""A record that was deleted can be created again."""

from __future__ import annotations

import pytest

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import RevisionConflict
from fastflow_contracts.bus.subjects import TriggerRef
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.event_cursors import EventCursor, event_cursors
from tests.support.records import T0

REF = TriggerRef(PipelineName("demo"), "orders")


async def test_a_deleted_record_counts_as_one_that_does_not_exist(bus: Bus) -> None:
    """As in every client of a key-value store on NATS; a record that exists is still not replaced."""
    cursors = event_cursors(bus)
    cursor = EventCursor(subject="orders.>", since=T0)
    for _ in range(2):
        revision = await cursors.put(REF, cursor, expect=0)
        with pytest.raises(RevisionConflict):
            await cursors.put(REF, cursor, expect=0)
        await cursors.delete(REF, expect=revision)
        assert await cursors.load(REF) == (None, 0)
    with pytest.raises(RevisionConflict):
        await cursors.put(REF, cursor, expect=revision)
