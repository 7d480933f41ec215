"""Requests that are made to fill memory, to keep the gateway busy, or to be read in two ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from fastflow_contracts.bus.client import Bus
from tests.support.gateway import ANSWER_S, TOKEN, Client, running_gateway, running_scheduler
from tests.support.records import a_bundle, publish_pipeline

AUTH = f"Host: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
PART = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n"
)


@pytest_asyncio.fixture
async def client(bus: Bus) -> AsyncIterator[Client]:
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"))
    async with running_scheduler(bus), running_gateway(bus) as client:
        yield client


def post(path: str, body: bytes, headers: bytes = b"") -> bytes:
    return b"POST %s HTTP/1.1\r\n%s%sContent-Length: %d\r\n\r\n%s" % (path.encode(), AUTH, headers, len(body), body)


async def answer(client: Client, request: bytes) -> bytes:
    """Send *request*; return the first bytes of what comes back; empty if the connection is closed without a word."""
    host, port = client.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        return await asyncio.wait_for(reader.read(4_000), ANSWER_S)
    except ConnectionError:
        return b""
    finally:
        writer.close()


REFUSED = {
    "two hosts": b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two lengths": b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "a length and chunks": post("/login", b"0\r\n\r\n", b"Transfer-Encoding: chunked\r\n"),
    "5,000 headers": b"GET /healthz HTTP/1.1\r\nHost: x\r\n%s\r\n" % b"".join(b"X-%d: 1\r\n" % n for n in range(5_000)),
    "headers without end": b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: 1\r\n" * 300_000,
    "another protocol": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "2,000,000 fields": post("/login", b"a&" * 2_000_000, FORM),
    "80,000 parts": post("/login", PART * 80_000 + b"--x--\r\n", b"Content-Type: multipart/form-data; boundary=x\r\n"),
    "a deep list": post("/api/pipelines/demo/run", b'{"env_vars":' + b"[" * 1_000_000),
    "deep objects": post("/api/secrets/encrypt-for-pipeline", b'{"value":' + b'{"a":' * 300_000),
    "a body without end": post("/api/pipelines/demo/run", b"a" * 5_000_000),
}


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED)
async def test_a_request_made_to_harm_is_refused(client: Client, request_: bytes) -> None:
    """With a status of the client's error, or by closing the connection; the next request is answered."""
    head = (await answer(client, request_)).partition(b"\r\n")[0]
    assert not head or b" 4" in head
    assert b" 200 " in await answer(client, HEALTH)


ANSWERED = {
    "a flood of requests": HEALTH * 20_000,
    "an upgrade with a flood behind it": HEALTH[:-2] + UPGRADE + b"\r\n" + HEALTH * 20_000,
    "ten thousand ranges": b"GET /api/openapi.json HTTP/1.1\r\n%sRange: bytes=%s0-1\r\n\r\n" % (AUTH, b"0-1," * 1_500),
    "an absolute address": b"GET http://elsewhere/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("request_", ANSWERED.values(), ids=ANSWERED)
async def test_a_request_that_wants_too_much_gets_what_others_get(client: Client, request_: bytes) -> None:
    """And the next request is answered."""
    assert (await answer(client, request_)).startswith(b"HTTP/1.1 200 ")
    assert b" 200 " in await answer(client, HEALTH)


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
async def test_other_methods_are_refused(client: Client, method: str) -> None:
    """None of them is answered with what was sent, nor lets another site in."""
    head = await answer(client, f"{method} /api/runs HTTP/1.1\r\nX-Sent: back\r\n".encode() + AUTH + b"\r\n")
    assert b" 40" in head.partition(b"\r\n")[0]
    assert b"back" not in head
    assert b"access-control" not in head.lower()


@pytest.mark.parametrize("path", [b"/healthz", b"/nosuch", b"/api/pipelines/demo/run"])
async def test_an_expectation_that_is_no_text_is_the_clients_fault(client: Client, path: bytes) -> None:
    """The server's library fails to quote it in its refusal."""
    status = await answer(client, b"POST %s HTTP/1.1\r\n%sExpect: \xdf\r\nContent-Length: 0\r\n\r\n" % (path, AUTH))
    assert status.startswith((b"HTTP/1.1 400", b"HTTP/1.1 417")), status


async def test_a_refusal_may_quote_a_header_that_is_no_text(client: Client) -> None:
    """A browser's word on where a form came from."""
    form = b"POST /login HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: \xdf\r\nContent-Length: 0\r\n\r\n"
    status = await answer(client, form)
    assert status.startswith(b"HTTP/1.1 403"), status


@pytest.mark.parametrize("headers", [b"Host: \xdf", b"Host: x\r\nOrigin: http://\xdf", b"Host: x\r\nOrigin: http://["])
async def test_a_page_may_quote_a_header_that_is_no_address(client: Client, headers: bytes) -> None:
    """The page of a pipeline's webhooks writes the address under which it was asked for."""
    bearer = AUTH.partition(b"\r\n")[2]
    status = await answer(
        client, b"POST /pipelines/demo/webhooks HTTP/1.1\r\n%s\r\n%sContent-Length: 0\r\n\r\n" % (headers, bearer)
    )
    assert status.startswith(b"HTTP/1.1 200"), status


async def test_an_origin_that_is_no_address_is_not_ours(client: Client) -> None:
    form = b"POST /login HTTP/1.1\r\nHost: x\r\nOrigin: http://[\r\nContent-Length: 0\r\n\r\n"
    status = await answer(client, form)
    assert status.startswith(b"HTTP/1.1 403"), status
