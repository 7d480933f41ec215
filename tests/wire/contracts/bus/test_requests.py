"""Requests of our client: each gets its own answer, in time or not at all. A real server."""

from __future__ import annotations

import asyncio

import nats.errors
import pytest
from nats.aio.msg import Msg

from fastflow_contracts.bus.client import Bus

SUBJECT = "ff.test.echo"


async def test_each_of_many_requests_gets_its_own_answer_in_any_order(bus: Bus) -> None:
    """The first request makes the subscription of all answers."""
    held: list[Msg] = []
    count = 200

    async def answer_backwards(message: Msg) -> None:
        held.append(message)
        if len(held) == count:
            for each in reversed(held):
                await each.respond(each.data)

    await bus.client.subscribe(SUBJECT, cb=answer_backwards)
    requests = [bus.client.request(SUBJECT, str(number).encode(), timeout=60) for number in range(count)]
    answers = await asyncio.gather(*requests)
    assert [int(answer.data) for answer in answers] == list(range(count))


async def test_a_late_or_second_answer_reaches_no_other_request(bus: Bus) -> None:
    """A request that was given up or answered is forgotten."""
    asked: list[Msg] = []

    async def keep(message: Msg) -> None:
        asked.append(message)
        if message.data == b"now":
            await message.respond(b"first")
            await message.respond(b"second")

    await bus.client.subscribe(SUBJECT, cb=keep)
    with pytest.raises(nats.errors.TimeoutError):
        await bus.client.request(SUBJECT, b"never", timeout=0.2)
    await asked[0].respond(b"late")
    await bus.client.flush()
    for _ in range(3):
        assert (await bus.client.request(SUBJECT, b"now", timeout=60)).data == b"first"
    await bus.client.flush()
    assert bus.client._resp_map == {}


async def test_a_request_that_nobody_hears_fails_at_once(bus: Bus) -> None:
    """The server says so."""
    with pytest.raises(nats.errors.NoRespondersError):
        await bus.client.request("ff.test.nobody", b"", timeout=60)


async def test_a_cancelled_request_is_forgotten(bus: Bus) -> None:
    """Its task ends, and its answer, if it comes, is dropped."""
    asked = asyncio.Queue[Msg]()
    await bus.client.subscribe(SUBJECT, cb=asked.put)
    task = asyncio.create_task(bus.client.request(SUBJECT, b"", timeout=60), name="request")
    message = await asked.get()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await message.respond(b"late")
    await bus.client.flush()
    assert bus.client._resp_map == {}
