"""An existing bus is changed to today's topology."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.pull import Pull
from fastflow_contracts.bus.streams import WrongTopology, ensure, verify


async def test_a_bus_without_the_subject_of_the_services_gets_it(bus: Bus) -> None:
    """With a consumer of its own: a scheduler that does not know the subject never takes a start, and loses none."""
    stream = next(each for each in streams.STREAMS if each.name == streams.TRIGGERS)
    await bus.js.delete_consumer(streams.TRIGGERS, streams.STARTS)
    await bus.js.update_stream(replace(stream, subjects=[subjects.TRIGGERS]))
    with pytest.raises(WrongTopology, match=r"lacks subject ff\.start\.\*, consumer starts of FF_TRIGGERS; run"):
        await verify(bus.js)
    await ensure(bus.js)
    await verify(bus.js)
    await bus.publish("ff.trigger.x", b"from outside")
    await bus.publish("ff.start.x", b"by a service")
    for consumer, data in ((streams.SCHEDULER, b"from outside"), (streams.STARTS, b"by a service")):
        async with Pull(bus, streams.TRIGGERS, consumer) as pull:
            assert [message.data for message in await pull.take(2)] == [data]
