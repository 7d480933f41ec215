"""Messages on subjects that name no pipeline, from a program that may only start runs: no scheduler may end by them."""

from __future__ import annotations

import asyncio

import pytest

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.feed import once
from fastflow_contracts.runs.messages import SKIP
from tests.support.gateway import running_scheduler

HANDLED_S = 60.0

ODD = {
    "as long as a server takes": b"ff.trigger." + b"x" * 4019,
    "long and escaped": b"ff.trigger." + b"=41" * 1300,
    "long with the characters of a header": b"ff.trigger." + b":" * 4000,
    "no UTF-8": b"ff.trigger.\xff\xfe",
    "a wildcard": b"ff.trigger.*",
    "a character that no subject of ours has": "ff.trigger.größe".encode(),
}


@pytest.mark.parametrize("subject", ODD.values(), ids=ODD.keys())
async def test_a_message_on_an_odd_subject_becomes_a_skip_and_the_next_one_is_handled(
    bus: Bus, bus_url: str, subject: bytes
) -> None:
    """The subject once ended every scheduler that received the message, again and again."""
    await send(bus_url, subject)
    async with running_scheduler(bus):
        await bus.publish("ff.trigger.unknown", b"{}")
        async with asyncio.timeout(HANDLED_S):
            while len(kept := await skips(bus)) < 2:
                await asyncio.sleep(0.05)
    assert all(len(each) <= subjects.SUBJECT_BYTES_MAX for each in kept)
    assert "unknown" in kept.values()


async def send(url: str, subject: bytes) -> None:
    """Publish on *subject* as a client without any checks does, and wait until the server has it."""
    async with connect(url, name="outside") as bus:
        before = await bus.last_sequence(streams.TRIGGERS)
        await bus.client._send_command(b"PUB " + subject + b" 2\r\n{}\r\n")
        await bus.client.flush()
        async with asyncio.timeout(HANDLED_S):
            while await bus.last_sequence(streams.TRIGGERS) == before:
                await asyncio.sleep(0.05)


async def skips(bus: Bus) -> dict[str, str]:
    """The pipelines of all skips, by subject."""
    found: dict[str, str] = {}
    async for batch in once(bus, streams.NOTICES, subjects.SKIPS):
        found |= {message.subject: SKIP.decode(message.data).pipeline for message in batch.messages}
    return found
