"""The Docker proxy, in front of daemons that refuse, fail and hang up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from fastflow_runner.proxy.request import Ours
from fastflow_runner.proxy.server import DockerProxy
from fastflow_runner.sandbox import DaemonUnreachable, Held, SandboxError, SandboxSpec
from fastflow_runner.sandbox.docker.config import LABEL_SCOPE, LABEL_TOKEN
from fastflow_runner.sandbox.docker.sandboxes import DockerSandboxes


async def test_an_attachment_that_is_refused_carries_no_second_request(tmp_path: Path) -> None:
    """A daemon that refuses one may keep the connection for HTTP, and what the runner sends next would be a request
    that was never checked. The real daemon does so for reasons that the proxy rules out; this one always does.
    """
    heard = bytearray()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readline()
        if b"/json " in first:
            shown = json.dumps({"Id": "a" * 64, "Config": {"Labels": {LABEL_SCOPE: "test"}}}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + shown)
        else:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            with suppress(ConnectionError):
                heard.extend(await reader.read())
        writer.close()

    async with (
        asyncio.timeout(20),
        await asyncio.start_unix_server(refuse, tmp_path / "daemon"),
        DockerProxy(Ours("test", frozenset(), "none", "none"), str(tmp_path / "daemon")).open(str(tmp_path / "to-it")),
    ):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "to-it")
        writer.write(b"POST /containers/abc/attach?stream=1 HTTP/1.1\r\n\r\nGET /containers/json HTTP/1.1\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"400"
        writer.write(b"GET /containers/json HTTP/1.1\r\n\r\n")
        writer.write_eof()
        assert await reader.read() == b"Content-Length: 0\r\n\r\n"
        writer.close()
    assert heard == b""


async def test_an_absent_daemon_is_not_a_refusal(tmp_path: Path) -> None:
    """With and without the proxy: the request is repeated, and no script fails."""
    proxy = DockerProxy(Ours("test", frozenset({"x"}), "none", "none"), str(tmp_path / "nobody"))
    async with proxy.open(str(tmp_path / "proxy")), a_client(tmp_path / "proxy") as sandboxes:
        for call in (
            sandboxes.held(),
            sandboxes.open(SandboxSpec(name="ff-test", image="x")),
            sandboxes.attach(HELD),
            sandboxes.remove(HELD.name),
        ):
            with pytest.raises(DaemonUnreachable):
                await call


@pytest.mark.parametrize(("of", "through"), [("attach", "daemon"), ("attach", "proxy"), ("json", "proxy")])
async def test_a_daemon_that_hangs_up_is_not_a_refusal(of: str, through: str, tmp_path: Path) -> None:
    """During an attach, or while the proxy asks for the owner of a container."""
    shown = {"Id": "a" * 64, "Config": {"Labels": {LABEL_SCOPE: "test"}}, "State": {"Running": True}}
    answers = {"/json": _answer(200, shown), "/attach": b""} | {f"/{of}": b""}
    async with a_daemon(answers, tmp_path), a_client(tmp_path / through) as sandboxes:
        with pytest.raises(DaemonUnreachable):
            await sandboxes.attach(HELD)


async def test_a_container_that_the_daemon_cannot_show_is_not_missing(tmp_path: Path) -> None:
    """Its owner is unknown at the moment, which does not mean that it is gone."""
    answers = {"/json": _answer(500, {"message": "no space left on device"})}
    async with a_daemon(answers, tmp_path), a_client(tmp_path / "proxy") as sandboxes:
        with pytest.raises(SandboxError, match="no space left"):
            await sandboxes.attach(HELD)


HELD = Held(name="ff-test", labels={LABEL_TOKEN: "00"}, running=True)


@asynccontextmanager
async def a_client(socket: Path) -> AsyncIterator[DockerSandboxes]:
    sandboxes = DockerSandboxes(scope="test", url=f"unix://{socket}")
    try:
        yield sandboxes
    finally:
        await sandboxes.close()


@asynccontextmanager
async def a_daemon(answers: Mapping[str, bytes], folder: Path) -> AsyncIterator[None]:
    """A daemon that answers by the end of the path and hangs up, and a proxy in front of it."""
    known = {"/version": _answer(200, {"ApiVersion": "1.41"}), **answers}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1].decode().partition("?")[0]
        writer.write(next(answer for end, answer in known.items() if path.endswith(end)))
        await writer.drain()
        writer.close()

    proxy = DockerProxy(Ours("test", frozenset(), "none", "none"), str(folder / "daemon"))
    async with (
        asyncio.timeout(20),
        await asyncio.start_unix_server(serve, folder / "daemon"),
        proxy.open(str(folder / "proxy")),
    ):
        yield


def _answer(status: int, body: dict[str, object]) -> bytes:
    text = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} .\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + text
