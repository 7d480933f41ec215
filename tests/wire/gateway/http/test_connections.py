"""Slow, silent and greedy clients, on raw sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from fastflow_contracts.bus.client import Bus
from fastflow_gateway.app import gateway, open_sockets
from fastflow_gateway.http import protocol
from fastflow_gateway.settings import GatewaySettings
from tests.support.gateway import ANSWER_S, TOKEN, Client, running_gateway, say, store
from tests.support.records import a_run

LIVE = f"GET /live HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connected(client: Client) -> Streams:
    host, port = client.url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def asked(client: Client, request: bytes) -> Streams:
    """Send *request* on a new connection, and wait until its answer begins."""
    reader, writer = await connected(client)
    writer.write(request)
    assert (await status(reader)) == 200
    return reader, writer


async def status(reader: asyncio.StreamReader) -> int:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), ANSWER_S)
    return int(head.split()[1])


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(ANSWER_S):
        while not await condition():
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("head", [b"", HEALTH[:-2]], ids=["nothing", "a head without an end"])
async def test_a_client_that_sends_no_request_is_closed(bus: Bus, head: bytes) -> None:
    """With 408, also if a byte comes now and then."""
    async with running_gateway(bus, header_s=1.0) as client:
        reader, writer = await connected(client)
        writer.write(head)
        answer = asyncio.create_task(reader.read())
        while not answer.done():
            if head:
                writer.write(b"a")
            await asyncio.wait({answer}, timeout=0.2)
        assert b"408 Request Timeout" in answer.result()
        assert b"Connection: close" in answer.result()
        writer.close()


async def test_a_second_request_must_arrive_in_time_too(bus: Bus) -> None:
    """A kept connection is no way around the limit."""
    async with running_gateway(bus, header_s=1.0, keep_alive_s=600.0) as client:
        reader, writer = await asked(client, HEALTH)
        writer.write(HEALTH[:20])
        rest = await asyncio.wait_for(reader.read(), ANSWER_S)
        assert b"408 Request Timeout" in rest
        writer.close()


async def test_a_kept_connection_is_closed_when_nothing_comes(bus: Bus) -> None:
    """Without an answer, since nothing was asked."""
    async with running_gateway(bus, header_s=600.0, keep_alive_s=1.0) as client:
        reader, writer = await asked(client, HEALTH)
        assert b"HTTP/1.1" not in await asyncio.wait_for(reader.read(), ANSWER_S)
        writer.close()


@pytest.mark.parametrize(
    "sent",
    [b"", HEALTH[:-2], b"POST /login HTTP/1.1\r\nHost: x\r\n%sContent-Length: 9\r\n\r\na" % FORM],
    ids=["nothing", "half a head", "half a body"],
)
async def test_waiting_connections_make_room_for_new_ones(bus: Bus, sent: bytes) -> None:
    """However many are silent or slow, the next request is answered: the oldest of them goes."""
    async with running_gateway(bus, connections_max=4, connections_per_client_max=100) as client:
        silent = []
        for _ in range(20):
            silent.append(await connected(client))
            silent[-1][1].write(sent)
        assert await asyncio.wait_for(silent[0][0].read(), ANSWER_S) == b""
        for _ in range(3):
            _, writer = await asked(client, HEALTH)
            writer.close()
        for _, writer in silent:
            writer.close()


async def test_clients_that_do_not_read_make_room_for_new_ones(bus: Bus) -> None:
    """They hold no place, however much they ask for."""
    async with running_gateway(bus, connections_max=4, connections_per_client_max=100) as client:
        deaf = []
        for _ in range(12):
            reader, writer = await connected(client)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(b"GET /static/style.css HTTP/1.1\r\nHost: x\r\n\r\n" * 5_000)
            deaf.append((reader, writer))
        for _ in range(3):

            async def is_answered() -> bool:
                reader, writer = await connected(client)
                writer.write(HEALTH)
                try:
                    return b" 200 " in await asyncio.wait_for(reader.readline(), ANSWER_S)
                except ConnectionError:
                    return False
                finally:
                    writer.close()

            await until(is_answered)
        for _, writer in deaf:
            writer.transport.abort()


async def test_one_address_cannot_take_all_connections(bus: Bus) -> None:
    """With all of its connections in use it gets 503, on a connection that closes; afterwards there is room."""
    async with running_gateway(bus, connections_max=100, connections_per_client_max=3) as client:
        busy = [await asked(client, LIVE) for _ in range(3)]
        reader, writer = await connected(client)
        refused = await asyncio.wait_for(reader.read(), ANSWER_S)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After" in refused
        assert b"too many connections" in refused
        writer.close()
        busy[0][1].close()

        async def there_is_room() -> bool:
            reader, writer = await connected(client)
            writer.write(HEALTH)
            head = await reader.readline()
            writer.close()
            return b"200" in head

        await until(there_is_room)
        for _, writer in busy[1:]:
            writer.close()


async def test_a_proxy_brings_many_clients(bus: Bus) -> None:
    """The limit for one address is not for the addresses in FASTFLOW_PROXIES."""
    limits = {"connections_max": 100, "connections_per_client_max": 2}
    async with running_gateway(bus, proxies="127.0.0.0/8", **limits) as client:
        for _, writer in [await asked(client, LIVE) for _ in range(5)]:
            writer.close()


async def test_a_client_that_does_not_read_is_dropped(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if its answer is not a stream of events."""
    run = await store(bus, a_run("demo"))
    end = 0
    for _ in range(60):
        end += 200_000
        await say(bus, run, "x" * 199_999 + "\n", end=end)
    async with running_gateway(bus) as client:

        async def connections() -> int:
            text = (await client.get("/metrics")).text
            return int(float(text.partition("\nfastflow_gateway_connections ")[2].partition("\n")[0]))

        before = await connections()
        monkeypatch.setattr(protocol, "SEND_S", 1.0)
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = client.url.removeprefix("http://").split(":")
        deaf.connect((host, int(port)))
        head = f"GET /api/runs/{run.id}/logs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        deaf.sendall(head.encode())

        async def is_open() -> bool:
            return await connections() > before

        async def is_gone() -> bool:
            return await connections() <= before

        await until(is_open)
        await until(is_gone)
        deaf.close()


async def test_a_gateway_starts_again_on_the_sockets_of_its_caller(bus: Bus) -> None:
    """They stay open for the next one; a connection between the two waits, and is answered by the next."""
    settings = GatewaySettings(admin_token=TOKEN)
    sockets = await open_sockets("localhost", 0)
    assert len({each.getsockname()[1] for each in sockets}) == 1
    port = sockets[0].getsockname()[1]
    async with gateway(settings, bus, sockets=sockets) as url:
        assert url.endswith(f":{port}")
    reader, writer = await asyncio.open_connection("localhost", port)
    writer.write(HEALTH)
    async with gateway(settings, bus, sockets=sockets):
        assert await status(reader) == 200
        writer.close()
    for each in sockets:
        each.close()
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await asyncio.open_connection("localhost", port)
