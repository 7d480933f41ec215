"""A service that starts while something answers on the bus's port that is not, or not yet, a NATS server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.streams import ensure
from tests.process.test_start import WITHIN_S, a_service, until_said
from tests.support.processes import BusServer

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def saying(*parts: bytes) -> Answer:
    """A server that says this to each client and closes."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
        writer.close()

    return answer


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A load balancer whose server is not there yet: it accepts and says nothing."""
    await reader.read()
    writer.close()


HALF_DEAD = {
    "closes at once": saying(),
    "says nothing": silent,
    "speaks HTTP": saying(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"),
    "says an error": saying(b"INFO {}\r\n", b"-ERR 'maximum connections exceeded'\r\n"),
    "says garbage": saying(b"INFO \xff\xfe\r\n"),
    "says a list": saying(b"INFO []\r\n"),
    "never ends its line": saying(b"INFO " + b"x" * 200_000),
}


@pytest.mark.parametrize("answer", HALF_DEAD.values(), ids=HALF_DEAD.keys())
async def test_what_is_no_server_is_a_server_that_is_away(answer: Answer) -> None:
    """Whatever it says: only a person can mend any other error, so a service ends by one."""
    impostor = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = impostor.sockets[0].getsockname()[1]
    with pytest.raises(Unavailable, match="no NATS server answers"):
        async with connect(f"nats://127.0.0.1:{port}", name="test", connect_s=1):
            pass
    impostor.close()


@pytest.mark.slow
@pytest.mark.parametrize("answer", [silent, HALF_DEAD["says a list"]], ids=["says nothing", "says a list"])
async def test_a_service_waits_for_a_bus_that_is_half_there(answer: Answer, tmp_path: Path) -> None:
    """It says what it waits for, without a traceback, and is ready in its first life when the real one is there."""
    server = BusServer(tmp_path / "bus")
    url = await server.start()
    async with connect(url, name="test") as bus:
        await ensure(bus.js)
    await server.end()
    impostor = await asyncio.start_server(answer, "127.0.0.1", urlsplit(url).port)
    service = a_service("scheduler", url, tmp_path, FASTFLOW_NATS_CREDENTIALS=server.credentials("scheduler"))
    try:
        async with asyncio.timeout(WITHIN_S):
            await service.launch()
            await until_said(service, "start delayed")
            impostor.close()
            await impostor.wait_closed()
            await server.start()
            await service.ready()
            assert not [line for line in service.log if "Traceback" in line]
    finally:
        impostor.close()
        await service.remove()
        await server.end()
