"""The proxy's two sides: HTTP from runners, HTTP to the daemon. I/O; ``rules`` decides what passes.

The proxy reads a whole request, checks it, and writes it again from the checked form: the daemon sees no unchecked
byte. A connection serves one request, so the proxy need not find the end of an answer: it passes bytes on until the
daemon closes. Only an attachment passes bytes in both directions.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from fastflow_contracts.log import get_logger
from fastflow_runner.proxy.request import Denied, Ours, Passed, Request
from fastflow_runner.proxy.rules import BUILD_BYTES_MAX, check, plain
from fastflow_runner.sandbox.docker.config import LABEL_SCOPE

log = get_logger(__name__)

HEAD_BYTES_MAX: Final = 32 * 1024
HEAD_S: Final = 30.0
"""Maximum time for a request to arrive."""
DAEMON_S: Final = 30.0
"""Maximum time for the daemon to answer who owns a container."""
PIECE_BYTES: Final = 64 * 1024
KNOWN_MAX: Final = 10_000
ONCE: Final = ("content-length", "transfer-encoding", "host")
"""Headers that are ambiguous when repeated."""


class _Head(NamedTuple):
    method: str
    target: str
    headers: Mapping[str, str]


class _DaemonError(Exception):
    """The daemon refused to describe something that exists."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class DockerProxy:
    """The proxy of one installation. Serves any number of connections."""

    def __init__(self, ours: Ours, socket: str) -> None:
        """*socket*: path of the daemon's socket."""
        self._ours = ours
        self._socket = socket
        self._known: dict[str, None] = {}
        """Full ids of containers known to be ours. Docker never reuses an id."""
        self._serving: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def open(self, address: str) -> AsyncIterator[None]:
        """Listen at *address*: ``host:port`` or the path of a Unix socket. On exit, cut off open requests."""
        host, _, port = address.rpartition(":")
        if host:
            server = await asyncio.start_server(self._accept, host, int(port), limit=HEAD_BYTES_MAX)
        else:
            server = await asyncio.start_unix_server(self._accept, address, limit=HEAD_BYTES_MAX)
        try:
            yield
        finally:
            server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            await self._serve(reader, writer)
        except Denied as error:
            log.warning("request denied", reason=str(error))
            await _answer(writer, HTTPStatus.FORBIDDEN, str(error))
        except _DaemonError as error:
            await _answer(writer, error.status, str(error))
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            await _answer(writer, HTTPStatus.BAD_GATEWAY, f"the Docker proxy: {error or type(error).__name__}")
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_S):
            head = await _read_head(reader)
            request = Request(head.method, plain(head.target), await _read_body(reader, head.headers))
        passed = check(request, self._ours)
        if passed.container is not None:
            container_id = await self._id_of(passed.container)
            if container_id is None:
                # Answer as if it did not exist, in the daemon's words for an unknown name.
                await _answer(writer, HTTPStatus.NOT_FOUND, f"No such container: {passed.container}")
                return
            called, exactly = f"/containers/{passed.container}", f"/containers/{container_id}"
            request = request._replace(target=request.target.replace(called, exactly, 1))
        for network in passed.networks:
            if not await self._is_our_network(network):
                await _answer(writer, HTTPStatus.NOT_FOUND, f"network {network} not found")
                return
        if passed.image is not None and not await self._is_our_image(passed.image):
            await _answer(writer, HTTPStatus.NOT_FOUND, f"No such image: {passed.image}")
            return
        await self._pass_on(request, passed, head.headers, reader, writer)

    async def _id_of(self, name: str) -> str | None:
        """Return the full id of our container called *name*, or None."""
        if name in self._known:
            return name
        shown = await self._shown(f"/containers/{name}/json")
        if shown is None or not self._is_labelled(shown["Config"]["Labels"]):
            return None
        container_id = str(shown["Id"])
        if len(self._known) >= KNOWN_MAX:
            del self._known[next(iter(self._known))]
        self._known[container_id] = None
        return container_id

    async def _is_our_network(self, network_id: str) -> bool:
        shown = await self._shown(f"/networks/{network_id}")
        return shown is not None and shown["Name"] in self._ours.networks and self._is_labelled(shown["Labels"])

    async def _is_our_image(self, reference: str) -> bool:
        shown = await self._shown(f"/images/{reference}/json")
        return shown is not None and self._is_labelled(shown["Config"]["Labels"])

    def _is_labelled(self, labels: Mapping[str, str] | None) -> bool:
        return (labels or {}).get(LABEL_SCOPE) == self._ours.scope

    async def _shown(self, path: str) -> dict[str, Any] | None:
        """Return the daemon's description of *path*, or None if it does not exist."""
        async with asyncio.timeout(DAEMON_S):
            there, back = await asyncio.open_unix_connection(self._socket, limit=BUILD_BYTES_MAX)
            try:
                back.write(f"GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
                head, _, body = (await there.read()).partition(b"\r\n\r\n")
            finally:
                back.close()
        if not head:
            raise ConnectionResetError("Docker closed the connection.")
        if (status := int(head.split(b" ", 2)[1])) == HTTPStatus.NOT_FOUND:
            return None
        shown: dict[str, Any] = json.loads(body)
        if status != HTTPStatus.OK:
            raise _DaemonError(HTTPStatus(status), shown["message"])
        return shown

    async def _pass_on(
        self,
        request: Request,
        passed: Passed,
        headers: Mapping[str, str],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        there, back = await asyncio.open_unix_connection(self._socket, limit=PIECE_BYTES)
        try:
            back.write(_written(request, headers, upgrade=passed.is_attachment))
            await back.drain()
            if passed.is_attachment:
                writer.write(head := await there.readuntil(b"\r\n\r\n"))
            # Before the daemon's 101, bytes from the runner would be another, unchecked request.
            if not passed.is_attachment or head.split(b" ", 2)[1] != b"101":
                await _pass_answer(there, reader, writer)
                return
            async with asyncio.TaskGroup() as group:
                up = group.create_task(_pump(reader, back), name="to-daemon")
                await _pump(there, writer)
                up.cancel()
        except* OSError:
            pass  # one side is gone, so the other ends too
        finally:
            back.close()


async def _read_head(reader: asyncio.StreamReader) -> _Head:
    text = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
    first, *lines = text[:-4].split("\r\n")
    method, target, version = first.split(" ")
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise Denied(f"{version} is not supported.")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        key = name.lower()
        if not colon or not name or name != name.strip() or (key in headers and key in ONCE):
            raise Denied("a runner does not send such headers.")
        headers[key] = value.strip()
    return _Head(method, target, headers)


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("expect"):
        raise Denied("a runner does not send Expect.")
    if "transfer-encoding" in headers:
        if headers["transfer-encoding"].lower() != "chunked" or "content-length" in headers:
            raise Denied("the length of the request is ambiguous.")
        return await _read_chunks(reader)
    size = int(headers.get("content-length") or 0)
    if not 0 <= size <= BUILD_BYTES_MAX:
        raise Denied(f"a runner does not send a request of {size} bytes.")
    return await reader.readexactly(size)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        if size < 0 or len(body) + size > BUILD_BYTES_MAX:
            raise Denied("a runner does not send a request of this size.")
        body += await reader.readexactly(size)
        if await reader.readexactly(2) != b"\r\n":
            raise Denied("a chunk of the request is malformed.")
    if await reader.readuntil(b"\r\n") != b"\r\n":
        raise Denied("a runner does not send trailers.")
    return bytes(body)


def _written(request: Request, headers: Mapping[str, str], *, upgrade: bool) -> bytes:
    lines = [f"{request.method} {request.target} HTTP/1.1", "Host: docker", f"Content-Length: {len(request.body)}"]
    lines += ["Connection: Upgrade", "Upgrade: tcp"] if upgrade else ["Connection: close"]
    if request.body:
        is_build = headers.get("content-type") == "application/x-tar"
        lines.append(f"Content-Type: application/{'x-tar' if is_build else 'json'}")
    return "\r\n".join([*lines, "", ""]).encode() + request.body


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(PIECE_BYTES):
            target.write(data)
            await target.drain()


async def _pass_answer(there: asyncio.StreamReader, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass the answer on. Drop bytes after the request; stop when the runner closes the connection."""
    hung_up = asyncio.create_task(_until_closed(reader), name="hung-up")
    answering = asyncio.create_task(_pump(there, writer), name="answer")
    try:
        await asyncio.wait({hung_up, answering}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (hung_up, answering):
            task.cancel()
        await asyncio.gather(hung_up, answering, return_exceptions=True)


async def _until_closed(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(PIECE_BYTES):
            pass


async def _answer(writer: asyncio.StreamWriter, status: HTTPStatus, text: str) -> None:
    body = json.dumps({"message": text}).encode()
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
    with contextlib.suppress(OSError):
        writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
