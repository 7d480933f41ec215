"""Server-sent events: framing, and long answers to one client at its own pace. I/O.

Nothing here knows the content of the events.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from aiohttp import web

from fastflow_gateway.http.access import has_ended
from fastflow_gateway.http.compression import VARY, StreamPacker, packer_for

EVENT_STREAM: Final = "text/event-stream"
STREAMED: Final = (
    "Server-sent events. To resume, send the last id as Last-Event-ID. The last event is `end`, with the status."
)
"""What the OpenAPI document says about a stream of a run."""
LAST_EVENT_ID: Final = {"Last-Event-ID": "The id of the last event received: the stream resumes after it."}
"""The header with which a client resumes."""
HEARTBEAT_S: Final = 15.0
"""Silence before a comment is sent: proxies then keep the connection, and a lost client is noticed."""
SEND_S: Final = 60.0
"""A client that reads nothing for this long is dropped."""
WRITE_BYTES: Final = 64 * 1024
"""Bytes handed to the connection at once; it waits while the client does not read."""
RETRY: Final = b"retry: 2000\n\n"
"""Milliseconds before a browser that lost the stream reconnects."""
HEARTBEAT: Final = b": still here\n\n"


class EventStream:
    """An open answer of events. Create it with ``event_stream``."""

    def __init__(self, request: web.Request, response: web.StreamResponse, packer: StreamPacker | None) -> None:
        self._request = request
        self._response = response
        self._packer = packer

    async def send(self, events: bytes) -> None:
        """Send encoded events; may be empty. Raises ``ConnectionError`` if the client does not read them."""
        view = memoryview(events)
        for start in range(0, len(view), WRITE_BYTES):
            part = view[start : start + WRITE_BYTES]
            await write(self._request, self._response, self._packer.pack(part) if self._packer else part)

    async def end(self) -> None:
        """End the answer. Raises ``ConnectionError`` if the client is gone."""
        await self._response.write_eof(self._packer.end() if self._packer else b"")

    async def wait(self, wake: asyncio.Event, timeout_s: float = HEARTBEAT_S) -> bool:
        """Wait for *wake*; return True. After *timeout_s* seconds of silence, send a comment and return False."""
        try:
            async with asyncio.timeout(timeout_s):
                await wake.wait()
        except TimeoutError:
            await self.send(HEARTBEAT)
            return False
        return True


@contextlib.asynccontextmanager
async def event_stream(
    request: web.Request, response: web.StreamResponse, *, packs: bool = False
) -> AsyncIterator[EventStream]:
    """Begin the answer. If the client leaves, the block ends without an error.

    *packs*: there may be many events, or large ones, so they are compressed where that pays.
    """
    packer = packer_for(request) if packs else None
    if packs:
        response.headers["Vary"] = VARY
    if packer is not None:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Content-Type"] = f"{EVENT_STREAM}; charset=utf-8"
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Accel-Buffering"] = "no"
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        stream = EventStream(request, response, packer)
        await stream.send(RETRY)
        yield stream
        await stream.end()


async def write(request: web.Request, response: web.StreamResponse, data: bytes | memoryview) -> None:
    """Write a part of an answer.

    Raises ``ConnectionError`` if the client is gone, reads nothing for ``SEND_S``, or its session has ended.
    """
    if has_ended(request):
        raise ConnectionResetError("the session has ended")
    try:
        async with asyncio.timeout(SEND_S):
            await response.write(data)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()  # close() would wait until the client has read the rest
        raise ConnectionResetError("the client does not read") from None


def event(name: str, data: Any, *, event_id: str | None = None) -> bytes:
    """Encode one event. *data* becomes JSON, which has no line breaks."""
    head = f"id: {event_id}\n" if event_id is not None else ""
    return f"{head}event: {name}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"
