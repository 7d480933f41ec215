"""What the command asks of a bus, with a real scheduler."""

from __future__ import annotations

import pytest

from fastflow.local import bus_client
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_contracts.runs.store import RunStore
from tests.support.gateway import running_scheduler
from tests.support.records import a_bundle, publish_pipeline

DEMO = PipelineName("demo")


async def test_an_event_that_was_refused_can_be_sent_again(bus: Bus) -> None:
    """The same id is the same run, and none was started: the bus must not take the second for a repeat."""
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), max_instances=1)
    async with running_scheduler(bus):
        first = await bus_client.publish(bus, DEMO, b"{}", key="k-1", media_type=None)
        assert await bus_client.publish(bus, DEMO, b"{}", key="k-1", media_type=None) == first
        with pytest.raises(bus_client.Refused):
            await bus_client.publish(bus, DEMO, b"{}", key="k-2", media_type=None)
        runs = RunStore(bus)
        await runs.change(first.run, Cancel())
        second = await bus_client.publish(bus, DEMO, b'{"a": 1}', key="k-2", media_type="application/json")
        assert second.decided
        run = (await runs.load(second.run)).run
        given = await runs.input(run)
    assert (given.event, given.event_type, run.order.triggered_by) == (b'{"a": 1}', "application/json", "bus")
