"""A gateway whose process has no descriptor left."""

from __future__ import annotations

import asyncio
import os
import resource
from contextlib import suppress

from tests.support.gateway import ANSWER_S
from tests.support.gateway_process import GatewayProcess, running_gateway_process


async def answers(gateway: GatewayProcess) -> bool:
    with suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head = await asyncio.wait_for(reader.readline(), ANSWER_S)
        writer.close()
        return b" 200 " in head
    return False


async def test_a_gateway_without_descriptors_goes_on(bus_url: str) -> None:
    """A connection that the system refuses ends nothing: idle ones go, and the next request is answered."""
    async with running_gateway_process(bus_url) as gateway:
        in_use = len(os.listdir(f"/proc/{gateway.pid}/fd"))
        silent = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(8)]
        resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (in_use + 8, in_use + 8))
        async with asyncio.timeout(ANSWER_S):
            while not await answers(gateway):
                await asyncio.sleep(0.1)
        for _ in range(20):
            assert await answers(gateway)
        assert gateway.is_running
        for _, writer in silent:
            writer.close()
