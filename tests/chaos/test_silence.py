"""How long a bus of three servers is silent after its leader is gone: the time that a lease must survive."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path

import pytest

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.bus.streams import bucket_stream
from fastflow_contracts.runs.lease import CLUSTER_SILENCE_S
from tests.support.cluster import SERVERS, Cluster

STREAM = bucket_stream(subjects.RUNNERS)
BETWEEN_S = 0.2


class Client:
    """Writes all the time, as a runner does, and receives what all clients write, as a scheduler does."""

    def __init__(self, bus: Bus, number: int) -> None:
        self.bus = bus
        self.number = number
        self.heard: dict[str, float] = {}
        """By key, when the newest received value was written."""

    async def write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self.bus.put(subjects.RUNNERS, subjects.runner_key(str(self.number)), str(loop.time()).encode())
            except Unavailable:
                continue
            await asyncio.sleep(BETWEEN_S)

    async def hear(self) -> None:
        async with aclosing(feed(self.bus, STREAM, f"$KV.{subjects.RUNNERS}.{subjects.RUNNER_KEYS}")) as batches:
            async for batch in batches:
                self.heard |= {message.subject: float(message.data) for message in batch.messages}

    def hears_all_since(self, at: float) -> bool:
        return len(self.heard) == SERVERS and min(self.heard.values()) > at


@asynccontextmanager
async def clients(cluster: Cluster) -> AsyncIterator[list[Client]]:
    """One client at each server."""
    servers = cluster.url.split(",")
    async with AsyncExitStack() as stack:
        made = []
        for number in range(SERVERS):
            url = ",".join(servers[number:] + servers[:number])
            made.append(Client(await stack.enter_async_context(connect(url, name=f"client-{number}")), number))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(task) for each in made for task in (each.write(), each.hear())]
            yield made
            for task in tasks:
                task.cancel()


async def all_hear_since(made: list[Client], at: float) -> None:
    async with asyncio.timeout(4 * CLUSTER_SILENCE_S):
        while not all(each.hears_all_since(at) for each in made):
            await asyncio.sleep(BETWEEN_S)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
async def test_every_client_is_heard_again_soon_after_the_leading_server_fails(
    tmp_path: Path, blow: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    """This includes clients that were connected to it, and those that it delivered to: no runner is lost over a silent
    bus.
    """
    loop = asyncio.get_running_loop()
    cluster = Cluster(tmp_path)
    try:
        await cluster.start()
        async with clients(cluster) as made:
            await all_hear_since(made, loop.time())
            leader = (await made[0].bus.js.stream_info(STREAM)).cluster
            assert leader is not None
            assert leader.leader is not None
            hit_at = loop.time()
            cluster.signal_one(int(leader.leader.rpartition("-")[2]), blow)
            await all_hear_since(made, hit_at)
            silent_s = loop.time() - hit_at
    finally:
        await cluster.end()
    print(f"all clients are heard again {silent_s:.1f} s after {blow.name}")
    assert silent_s < CLUSTER_SILENCE_S
    assert "Authorization" not in caplog.text
