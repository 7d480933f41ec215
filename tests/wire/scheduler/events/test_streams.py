"""What streams of other programs do to a trigger: purges, gaps, sequences that are gone, many messages."""

from __future__ import annotations

import asyncio
import json

import pytest

from fastflow_contracts.bus import foreign
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.clock import now
from tests.wire.scheduler.events.test_triggers import (
    deploy,
    events_of,
    make_stream,
    publish,
    schedulers,
    until_done,
)

__all__ = ["schedulers"]


@pytest.mark.parametrize("direct", [True, False])
async def test_messages_are_read_in_order_over_gaps_and_between_other_subjects(bus: Bus, direct: bool) -> None:
    await make_stream(bus, direct=direct)
    wanted = []
    for number in range(300):
        sequence = await publish(bus, number, subject="orders.x" if number % 3 else "other.x")
        if number % 3 and number % 7 == 0:
            await bus.js.delete_msg("ORDERS", sequence)
        elif number % 3:
            wanted.append(number)
    stream = await foreign.stream_now(bus, await foreign.stream_with(bus, "orders.>"))
    found: list[int] = []
    after = 0
    while messages := await foreign.read(bus, stream, "orders.>", after=after, most=50):
        assert len(messages) <= 50
        found += [json.loads(each.data) for each in messages]
        after = messages[-1].sequence
    assert found == wanted


@pytest.mark.parametrize("direct", [True, False])
async def test_a_purge_of_what_was_not_read_yet_stops_nothing(schedulers: Bus, direct: bool) -> None:
    bus = schedulers
    await make_stream(bus, direct=direct)
    await deploy(bus)
    await until_done(bus, await publish(bus, 1))
    await publish(bus, *range(100, 200), subject="other.x")
    await bus.js.purge_stream("ORDERS")
    await until_done(bus, await publish(bus, 2))
    assert sorted(await events_of(bus)) == [b"1", b"2"]  # type: ignore[type-var]


async def test_the_beginning_is_found_by_time(bus: Bus) -> None:
    await make_stream(bus)
    await publish(bus, *range(20))
    between = now()
    await asyncio.sleep(0.01)  # the clocks are one; the instants must differ
    await publish(bus, "other", subject="other.x")
    last = await publish(bus, "later")
    stream = await foreign.stream_now(bus, "ORDERS")
    assert 21 <= await foreign.first_after(bus, stream, "orders.>", between) <= last
    assert await foreign.first_after(bus, stream, "orders.>", now()) == last + 1
