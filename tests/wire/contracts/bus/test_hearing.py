"""Messages that are received at once, without a queue: each arrives, and an error of their receiver stops nothing."""

from __future__ import annotations

import asyncio

from nats.aio.msg import Msg

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.streams import bucket_stream
from fastflow_contracts.bus.subjects import RUNS

SUBJECT = "ff.test.heard"


async def test_each_message_arrives_in_order_also_after_one_that_its_receiver_cannot_handle(bus: Bus) -> None:
    """What reads the connection goes on: other requests get their answers."""
    heard: list[bytes] = []
    came = asyncio.Event()

    def receive(message: Msg) -> None:
        heard.append(message.data)
        if message.data == b"1":
            raise ValueError("not this one")
        if message.data == b"99":
            came.set()

    await bus.client.hear(SUBJECT, receive)
    for number in range(100):
        await bus.client.publish(SUBJECT, str(number).encode())
    async with asyncio.timeout(60):
        await came.wait()
    assert heard == [str(number).encode() for number in range(100)]
    assert await bus.last_sequence(bucket_stream(RUNS)) == 0


async def test_nothing_arrives_after_the_end_of_the_subscription(bus: Bus) -> None:
    """And its receiver is forgotten."""
    heard: list[bytes] = []
    came = asyncio.Queue[Msg]()
    await bus.client.hear(f"{SUBJECT}.all", came.put_nowait)
    await bus.client.hear(SUBJECT, came.put_nowait)
    receivers = len(bus.client._hearing)
    subscription = await bus.client.hear(SUBJECT, lambda message: heard.append(message.data))
    async with asyncio.timeout(60):
        await bus.client.publish(SUBJECT, b"before")
        await came.get()
        await bus.client.publish(f"{SUBJECT}.all", b"")  # after both copies of the one before
        await came.get()
        await subscription.unsubscribe()
        await bus.client.publish(SUBJECT, b"after")
        await came.get()
        await bus.client.publish(f"{SUBJECT}.all", b"")
        await came.get()
    assert heard == [b"before"]
    assert len(bus.client._hearing) == receivers


async def test_a_subscription_with_a_bad_subject_leaves_no_receiver(bus: Bus) -> None:
    """It was never made."""
    receivers = dict(bus.client._hearing)
    outcome = await asyncio.gather(bus.client.hear("", lambda _: None), return_exceptions=True)
    assert isinstance(outcome[0], Exception)
    assert bus.client._hearing == receivers
