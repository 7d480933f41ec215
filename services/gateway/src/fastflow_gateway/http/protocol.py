"""The server's end of one connection: it refuses input that is not a request, and clients that are too slow. I/O."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import StreamReader, web
from aiohttp.http_exceptions import ContentEncodingError, LineTooLong

from fastflow_api import shapes
from fastflow_gateway.http.connections import SEND_S, Connections
from fastflow_gateway.http.middleware import HEADERS
from fastflow_gateway.http.requests import answer


class Protocol(web.RequestHandler):
    """Answers input that the parser cannot read, which the application never sees. It quotes none of it.

    Args:
        server: aiohttp's server.
        connections: Counts this connection, and asks it again and again whether its client is too slow.
        options: Of ``web.RequestHandler``.
    """

    __slots__ = (
        "_body",
        "_connections",
        "_has_begun",
        "_idle_since_s",
        "_is_idle",
        "_unsent",
        "_unsent_since_s",
        "_wire",
        "client",
        "wake_when_lost",
    )

    def __init__(self, server: web.Server, *, connections: Connections, **options: Any) -> None:
        super().__init__(server, **options)
        self._connections = connections
        self._wire: asyncio.Transport | None = None
        """The transport; ``transport`` is None as soon as it is about to close."""
        self._is_idle = True
        self._has_begun = True
        """The head of the next request has begun. A new connection owes its first one."""
        self._idle_since_s = self._unsent_since_s = self._loop.time()
        self._unsent = 0
        self._body: StreamReader | None = None
        """Of the newest request, while it is not complete."""
        self.client = ""
        self.wake_when_lost: set[asyncio.Event] = set()
        """Set when the connection is lost: a handler that waits is not cancelled."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._wire = transport
        self.client = self._connections.client(remote_address(transport.get_extra_info("peername")))
        self._connections.opened(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.closed(self)
        self._wire = None
        super().connection_lost(exc)
        for wake in self.wake_when_lost:
            wake.set()

    def data_received(self, data: bytes) -> None:
        if self._is_idle and not self._has_begun:
            self._has_begun, self._idle_since_s = True, self._loop.time()
        super().data_received(data)
        if self._is_idle and self._messages:
            self._is_idle = self._has_begun = False
            self._body = self._messages[-1][1]
        if self._body is not None and self._body.is_eof():
            self._body = None
            self._connections.works(self)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._connections.waits(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self._is_idle and self._body is None:
            self._connections.works(self)

    async def finish_response(self, request: web.BaseRequest, *given: Any) -> tuple[web.StreamResponse, bool]:
        if "Content-Encoding" in request.headers:
            self._lingering_time = 0.0  # the rest of a refused body would be unpacked only to be thrown away
        try:
            return await super().finish_response(request, *given)
        finally:
            if not self._messages:
                self._is_idle, self._idle_since_s, self._body = True, self._loop.time(), None
                self._connections.waits(self)

    def check(self, now_s: float) -> None:
        """Close the connection if its client sends no request, or does not read its answer."""
        if self._wire is None:
            return
        unsent = self._wire.get_write_buffer_size()
        if not unsent or unsent != self._unsent:
            self._unsent, self._unsent_since_s = unsent, now_s
        elif now_s - self._unsent_since_s > SEND_S:
            self._wire.abort()  # close() would wait until the client has read the rest
            return
        # aiohttp closes a connection that waits for its next request, but not one whose head never ends.
        if self._is_idle and self._has_begun and now_s - self._idle_since_s > self._connections.header_s:
            self._wire.write(refusal(408, "Request Timeout", "the request did not arrive in time; send it again."))
            self.force_close()

    def drop(self) -> None:
        """Close the connection now, even if its client does not read."""
        wire = self._wire
        self.force_close()
        if wire is not None:
            wire.abort()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        if isinstance(exc, UnicodeEncodeError):  # aiohttp quotes a header that it refuses, and this one is not UTF-8
            status, exc = 400, None
        super().handle_error(request, status, exc, message)  # logs, and raises if an answer has begun
        response = answer(shapes.Error(detail=_detail(status, exc)), status=status, headers=HEADERS)
        response.force_close()
        return response


def remote_address(peer: Any) -> str:
    """The address in what a socket says about its other end."""
    return str(peer[0]) if isinstance(peer, tuple) and peer else "unknown"


def refusal(status: int, reason: str, detail: str) -> bytes:
    """A whole answer for a connection that closes now: outside the application, for the transport."""
    body = msgspec.json.encode(shapes.Error(detail=detail))
    fields = {
        **HEADERS,
        "Content-Type": "application/json; charset=utf-8",
        "Content-Length": str(len(body)),
        "Retry-After": "5",
        "Connection": "close",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} {reason}\r\n{head}\r\n".encode() + body


def _detail(status: int, error: BaseException | None) -> str:
    if status >= 500:
        return "the gateway failed; its log has the details."
    match error:
        case LineTooLong():
            return "the address or a header is too long; move long values into the body."
        case ContentEncodingError():
            return "this Content-Encoding is not supported; send the body with gzip, or without an encoding."
        case _:
            return "this is not valid HTTP; check the request's first line, its headers and its length."
