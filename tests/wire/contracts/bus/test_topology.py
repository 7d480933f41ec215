"""An existing bus is changed to today's topology."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.pull import Pull
from fastflow_contracts.bus.streams import WrongTopology, ensure, verify


async def test_a_bus_without_the_subject_of_the_services_gets_it(bus: Bus) -> None:
    """The consumer of the schedulers then takes from both subjects; what waits there stays."""
    stream = next(each for each in streams.STREAMS if each.name == streams.TRIGGERS)
    consumer = next(each for name, each in streams.CONSUMERS if name == streams.TRIGGERS)
    await bus.js.delete_consumer(streams.TRIGGERS, streams.SCHEDULER)
    await bus.js.update_stream(replace(stream, subjects=[subjects.TRIGGERS]))
    await bus.js.add_consumer(streams.TRIGGERS, replace(consumer, filter_subject=subjects.TRIGGERS))
    await bus.publish("ff.trigger.x", b"waiting")
    with pytest.raises(WrongTopology, match=r"lacks subject ff\.start\.\*; run `fastflow bus ensure`"):
        await verify(bus.js)
    await ensure(bus.js)
    await verify(bus.js)
    await bus.publish("ff.start.x", b"new")
    async with Pull(bus, streams.TRIGGERS, streams.SCHEDULER) as pull:
        taken = [message for _ in range(2) for message in await pull.take(1)]
    assert {message.data for message in taken} == {b"waiting", b"new"}
