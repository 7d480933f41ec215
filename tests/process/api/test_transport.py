"""The client's HTTP, against servers and proxies that behave as some do."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from fastflow_api import ApiError, BadRequest, Client, TooMany, Unreachable
from fastflow_api.connection import Connection
from tests.support.tls_bus import Authority

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b'{"status":"ok","dependencies":{}}'


def an_answer(body: bytes = OK, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    return b"\r\n".join((b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers, b"", body))


def tls_for(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's side with a certificate of *name*, and a client's that trusts its authority."""
    authority = Authority(folder / "authority.pem")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(authority.sign(folder / "server.pem", name))
    return server, ssl.create_default_context(cafile=str(authority.path))


async def head_of(reader: asyncio.StreamReader) -> str:
    return (await reader.readuntil(b"\r\n\r\n")).decode()


@contextlib.asynccontextmanager
async def a_server(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.close()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(one(reader, writer)))

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


@contextlib.asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[tuple[Client, list[str]]]:
    """A server that sends these answers, one for each request on a connection, and then closes it."""
    asked: list[str] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            asked.append(await head_of(reader))
            writer.write(answer)

    async with a_server(handler) as port, Client(f"http://127.0.0.1:{port}", "t") as client:
        yield client, asked


async def test_a_connection_is_kept_and_a_closed_one_replaced() -> None:
    """The server closes after two answers, as servers do when a connection was idle; the client does not notice."""
    async with answering(an_answer(), an_answer()) as (client, asked):
        for _ in range(5):
            assert (await client.health()).status == "ok"
        assert len(asked) == 5


async def test_a_request_with_a_key_is_repeated_and_one_without_is_not() -> None:
    """A kept connection that dies under a request says nothing about whether the server did it."""
    asked: list[str] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await head_of(reader))
        writer.write(an_answer())
        asked.append(await head_of(reader))  # and no answer

    async with a_server(handler) as port, Client(f"http://127.0.0.1:{port}", "t") as client:
        await client.health()
        with pytest.raises(Unreachable, match="broke off"):
            await client.start("demo")
        assert len(asked) == 2
        await client.health()
        with pytest.raises(ApiError, match="does not understand"):
            await client.start("demo", key="k")
    assert [head.split()[0] for head in asked] == ["GET", "POST", "GET", "POST", "POST"]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "not HTTP"),
        (b"", "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "broke off"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "not HTTP"),
        (an_answer(b"<html>", status=b"502 Bad Gateway"), "502 Bad Gateway; is this the address of a Fast-Flow"),
        (an_answer(b"", b"Location: /x", status=b"301 Moved"), "301 Moved"),
    ],
)
async def test_what_is_no_answer_is_a_sentence(answer: bytes, sentence: str) -> None:
    """An ssh server, a server that breaks off, endless headers, a proxy's page."""
    async with answering(answer) as (client, _):
        with pytest.raises(ApiError, match=sentence):
            await client.health()


async def test_pieces_and_interim_answers_are_read() -> None:
    """A chunked body with a trailer, after ``103 Early Hints``."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked = head + b"5\r\n" + OK[:5] + b"\r\n%x\r\n" % len(OK[5:]) + OK[5:] + b"\r\n0\r\nX: y\r\n\r\n"
    async with answering(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + chunked) as (client, _):
        assert (await client.health()).status == "ok"


async def test_an_answer_that_comes_before_the_body_was_read_counts() -> None:
    """A server that refuses a large body answers at once, and closes."""
    refusal = an_answer(b'{"detail":"too large"}', b"Connection: close", status=b"413 Too Large")

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(refusal)
        await writer.drain()
        await reader.read(1_000_000)

    async with a_server(handler) as port, Client(f"http://127.0.0.1:{port}", "t") as client:
        with pytest.raises(BadRequest, match="too large"):
            await client.publish("demo", b"x" * 900_000)


async def test_a_silent_server_is_given_up() -> None:
    """After the client's time limit, with a sentence."""

    async def handler(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with a_server(handler) as port:
        connection = Connection(f"http://127.0.0.1:{port}", "t", timeout_s=0.2, headers=None, tls=None)
        with pytest.raises(Unreachable, match="in time"):
            await connection.raw("GET", "/healthz", timeout_s=0.2)


async def test_what_the_server_asks_for_is_kept() -> None:
    """Host, prefix, user and password of the address, and ``Retry-After``."""
    busy = an_answer(b'{"detail":"not now"}', b"Retry-After: 7", status=b"429 Too Many Requests")
    async with answering(busy) as (client, asked):
        port = client.url.rpartition(":")[2]
        async with Client(f"http://ada:pass%20word@127.0.0.1:{port}/flöw/") as there:
            with pytest.raises(TooMany) as many:
                await there.health()
    assert many.value.retry_after == 7
    lines = asked[0].splitlines()
    assert lines[0] == "GET /fl%C3%B6w/healthz HTTP/1.1"
    assert f"Host: 127.0.0.1:{port}" in lines
    assert f"Authorization: Basic {base64.b64encode(b'ada:pass word').decode()}" in lines


@pytest.mark.parametrize("token", ["a\nb", "kéy\N{SNOWMAN}", "\0"])
def test_a_token_that_cannot_be_sent_is_refused_at_once(token: str) -> None:
    """As with one that was copied with its line end."""
    with pytest.raises(ValueError, match="Authorization has characters"):
        Client("http://127.0.0.1:1", token)


async def test_a_certificate_must_be_trusted(tmp_path: Path) -> None:
    """A foreign authority is refused with the reason, and accepted when it is named."""
    server, trusting = tls_for("localhost", tmp_path)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(an_answer())

    async with a_server(handler, server) as port:
        async with Client(f"https://localhost:{port}", "t") as client:
            with pytest.raises(Unreachable, match=r"(?i)certificate"):
                await client.health()
        async with Client(f"https://localhost:{port}", "t", tls=trusting) as client:
            assert (await client.health()).status == "ok"


@contextlib.asynccontextmanager
async def a_proxy(port: int, answer: bytes = b"HTTP/1.1 200 Connected\r\n\r\n") -> AsyncIterator[tuple[int, list[str]]]:
    """A proxy that connects everybody to one server."""
    asked: list[str] = []
    opened: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await head_of(reader)
        asked.append(head)
        there_reader, there = await asyncio.open_connection("127.0.0.1", port)
        opened.append(there)
        if head.startswith("CONNECT"):
            writer.write(answer)
        else:
            there.write(head.encode())
        await asyncio.gather(pump(reader, there), pump(there_reader, writer))

    async with a_server(handler) as at:
        yield at, asked
    for there in opened:
        there.close()


async def test_proxies_of_the_environment_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """For http with the whole address, for https with a tunnel, with the proxy's own password; not for NO_PROXY."""
    server, trusting = tls_for("flow.example", tmp_path)
    seen: list[str] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await head_of(reader))
        writer.write(an_answer())

    secret = f"Proxy-Authorization: Basic {base64.b64encode(b'me:pw').decode()}"
    async with a_server(handler) as plain, a_proxy(plain) as (proxy, asked):
        monkeypatch.setenv("HTTP_PROXY", f"http://me:pw@127.0.0.1:{proxy}")
        async with Client("http://flow.example", "t") as client:
            assert (await client.health()).status == "ok"
        assert asked[0].startswith("GET http://flow.example/healthz HTTP/1.1\r\n")
        assert secret in asked[0]
    async with a_server(handler, server) as tls, a_proxy(tls) as (proxy, asked):
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:pw@127.0.0.1:{proxy}")
        async with Client("https://flow.example", "t", tls=trusting) as client:
            assert (await client.health()).status == "ok"
        assert asked[0].startswith("CONNECT flow.example:443 HTTP/1.1\r\n")
        assert secret in asked[0]
        assert "Proxy-Authorization" not in seen[-1]
        assert "Authorization: Bearer t" not in asked[0]
        monkeypatch.setenv("NO_PROXY", "flow.example")
        async with Client("https://flow.example", "t", tls=trusting) as client:
            with pytest.raises(Unreachable):
                await client.health()
        assert len(asked) == 1


@pytest.mark.parametrize(
    ("proxy", "sentence"),
    [("socks5://127.0.0.1:1", "socks5 proxy.*only http and https"), ("http://127.0.0.1:1", "Connection refused")],
)
async def test_a_proxy_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, proxy: str, sentence: str) -> None:
    """And this machine itself needs none."""
    monkeypatch.setenv("ALL_PROXY", proxy)
    async with Client("http://flow.example", "t") as client:
        with pytest.raises(Unreachable, match=sentence):
            await client.health()
    async with answering(an_answer()) as (client, _):
        assert (await client.health()).status == "ok"


async def test_a_proxy_that_refuses_the_tunnel_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its status."""
    refusal = b"HTTP/1.1 407 Authentication Required\r\nContent-Length: 0\r\n\r\n"
    async with answering() as (server, _), a_proxy(int(server.url.rpartition(":")[2]), refusal) as (proxy, _):
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{proxy}")
        async with Client("https://flow.example", "t") as client:
            with pytest.raises(Unreachable, match="the proxy answers 407 Authentication Required"):
                await client.health()
