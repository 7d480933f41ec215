"""Requests from account to account between the servers of a cluster."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import nats.errors
import pytest
from nats.aio.msg import Msg

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.permissions import User, inbox
from tests.support.cluster import Cluster

CALLS = 60
ANSWER_S = 60.0


@pytest.mark.slow
async def test_each_call_reaches_one_gateway_and_its_reply_the_caller(tmp_path: Path) -> None:
    """Whichever server each of them is connected to."""
    cluster = Cluster(tmp_path)
    users = cluster._users
    heard: Counter[str] = Counter()
    try:
        await cluster.start()
        servers = cluster.bare_url.split(",")
        async with AsyncExitStack() as stack:
            for number, url in enumerate(servers):
                gateway = await stack.enter_async_context(
                    connect(url, name=f"g{number}", seed=users.seeds[User.GATEWAY], inbox=inbox(User.GATEWAY))
                )

                async def answer(message: Msg) -> None:
                    heard[message.data.decode()] += 1
                    await message.respond(message.data)

                await gateway.client.subscribe(subjects.CALLS, queue="gateway", cb=answer)
                await gateway.client.flush()
            for url in servers:
                address = url.replace("nats://", f"nats://{User.OUTSIDE.value}:{users.outside_password}@")
                caller = await stack.enter_async_context(connect(address, name="caller"))
                bodies = [f"{url} {number}".encode() for number in range(CALLS)]
                assert await asyncio.gather(*(_call(caller, body) for body in bodies)) == bodies
    finally:
        await cluster.end()
    assert set(heard.values()) == {1}
    assert len(heard) == CALLS * len(servers)


async def _call(caller: Bus, body: bytes) -> bytes:
    """Call; again while this server has not heard of a gateway at another one."""
    async with asyncio.timeout(ANSWER_S):
        while True:
            try:
                return bytes((await caller.client.request("ff.call.x", body, timeout=ANSWER_S)).data)
            except nats.errors.NoRespondersError:
                await asyncio.sleep(0.05)
