"""What a gateway's process needs of memory for logs that are made to fill it."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.runs.run import RunRecord
from tests.support.gateway import say, store
from tests.support.gateway_process import GatewayProcess, running_gateway_process
from tests.support.records import a_run

MB = 1_000_000
GROWTH_MAX = 150 * MB
PART = "x" * 200_000
LINE_BYTES = 200 * MB


@pytest_asyncio.fixture
async def run(bus: Bus) -> RunRecord:
    """A run that wrote one line of 200 MB, and a few short ones after it."""
    run = await store(bus, a_run("demo"))
    for end in range(len(PART), LINE_BYTES + 1, len(PART)):
        await say(bus, run, PART, end=end)
    await say(bus, run, "\n" + "".join(f"line {number}\n" for number in range(4)), end=LINE_BYTES + 29)
    return run


async def received(gateway: GatewayProcess, path: str) -> tuple[int, bytes]:
    """Return how much came, and the last of it."""
    size, last = 0, b""
    headers = {"Authorization": f"Bearer {gateway.token}"}
    async with gateway.http.get(gateway.url + path, headers=headers) as answer:
        assert answer.status == 200
        async for part in answer.content.iter_any():
            size, last = size + len(part), (last + part)[-1_000:]
    return size, last


@pytest.mark.slow
async def test_a_line_of_200_mb_does_not_fill_the_memory(bus_url: str, run: RunRecord) -> None:
    """Its tail, its lines as JSON and the whole of it, several at once: each is bounded, and the download is whole."""
    async with running_gateway_process(bus_url) as gateway:
        await gateway.get(f"/api/runs/{run.id}")
        before = gateway.peak_bytes
        tails = await asyncio.gather(*(received(gateway, f"/api/runs/{run.id}/logs?tail=5") for _ in range(6)))
        for size, last in tails:
            assert size < 5 * MB
            assert last.endswith(b"line 0\nline 1\nline 2\nline 3\n")
        lines = await asyncio.gather(*(received(gateway, f"/api/runs/{run.id}/logs/lines") for _ in range(3)))
        for size, last in lines:
            assert size < 5 * MB
            assert b'"line":"line 3"' in last
        wholes = await asyncio.gather(*(received(gateway, f"/api/runs/{run.id}/logs") for _ in range(3)))
        assert {size for size, _ in wholes} == {LINE_BYTES + 29}
        assert gateway.peak_bytes - before < GROWTH_MAX
