"""Headers that no client library sends, from a program that may only start runs: no scheduler may end by them."""

from __future__ import annotations

import asyncio

import pytest

from fastflow_contracts.bus import streams
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from tests.support.gateway import running_scheduler
from tests.wire.scheduler.starting.test_odd_subjects import HANDLED_S, skips

ODD = {
    "a status that is no UTF-8": b"NATS/1.0 \xff\xfe\xfd\r\n\r\n",
    "a description that is no UTF-8": b"NATS/1.0 200 \xff\r\n\r\n",
    "a description before headers that is no UTF-8": b"NATS/1.0 200 \xff\r\nA: b\r\n\r\n",
    "nothing but the version": b"NATS/1.0",
    "less than the version": b"N",
    "something else": b"GET / HTTP/1.1\r\n\r\n",
    "no end": b"NATS/1.0\r\nA: b",
    "an end in the middle": b"NATS/1.0\r\nA: b\r\n\r\nC: d\r\n\r\n",
    "a status of the server": b"NATS/1.0 404 No Messages\r\n\r\n",
    "a header like a status": b"NATS/1.0\r\nStatus: 409\r\nDescription: Consumer Deleted\r\n\r\n",
    "a status as a digit that int does not read": "NATS/1.0 \u00b2\r\n\r\n".encode(),
    "names that are no ASCII": b"NATS/1.0\r\n\xff\xfe: \xff\r\n: \r\n:\r\n\r\n",
}


@pytest.mark.parametrize("headers", ODD.values(), ids=ODD.keys())
async def test_a_message_with_odd_headers_is_handled_and_so_is_the_next_one(
    bus: Bus, bus_url: str, headers: bytes
) -> None:
    await send(bus_url, "ff.trigger.first", headers, b"{}")
    async with running_scheduler(bus):
        await bus.publish("ff.trigger.second", b"{}")
        async with asyncio.timeout(HANDLED_S):
            while {"first", "second"} - set((await skips(bus)).values()):
                await asyncio.sleep(0.05)


async def send(url: str, subject: str, headers: bytes, data: bytes) -> None:
    """Publish with exactly these bytes as the headers, and wait until the server has stored it."""
    async with connect(url, name="outside") as bus:
        before = await bus.last_sequence(streams.TRIGGERS)
        command = f"HPUB {subject} {len(headers)} {len(headers) + len(data)}\r\n".encode()
        await bus.client._send_command(command + headers + data + b"\r\n")
        await bus.client.flush()
        async with asyncio.timeout(HANDLED_S):
            while await bus.last_sequence(streams.TRIGGERS) == before:
                await asyncio.sleep(0.05)
