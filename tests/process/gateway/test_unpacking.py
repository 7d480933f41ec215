"""Compressed bodies that grow without end."""

from __future__ import annotations

import asyncio
import functools
import zlib

import pytest

from tests.support.gateway import ANSWER_S, TOKEN
from tests.support.gateway_process import running_gateway_process

MB = 1_000_000
GROWTH_MAX = 60 * MB
UNPACKED_BYTES = 1_000 * MB


@functools.cache
def bomb() -> bytes:
    """1 GB of zeros in gzip."""
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(10 * MB)
    return b"".join(packer.compress(zeros) for _ in range(UNPACKED_BYTES // len(zeros))) + packer.flush()


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [("/api/pipelines/demo/run", TOKEN, 413), ("/api/pipelines/demo/run", "guess", 401), ("/login", "", 413)],
)
async def test_a_compressed_bomb_is_not_unpacked(bus_url: str, path: str, token: str, status: int) -> None:
    """It is refused, with bounded memory, and others are answered."""
    body = bomb()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n"
    head += "Content-Type: application/x-www-form-urlencoded\r\n"
    head += f"Authorization: Bearer {token}\r\n\r\n" if token else "\r\n"
    async with running_gateway_process(bus_url) as gateway:
        await gateway.get("/api/runs")
        before = gateway.peak_bytes
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head.encode() + body)
        first = await asyncio.wait_for(reader.readline(), ANSWER_S)
        assert int(first.split()[1]) == status
        assert (await gateway.get("/api/runs")).status == 200
        assert gateway.peak_bytes - before < GROWTH_MAX
        writer.close()
