"""A proxy to the bus that kills a process at a chosen step: just before or after certain bytes are stored.

The services need no failpoints: every step that matters is a message to the bus.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Literal
from urllib.parse import urlsplit

Moment = Literal["before", "after", "passing"]
READ_BYTES = 256 * 1024


class Tripwire:
    """Triggers once, when *text* passes on its way to the bus.

    ``before``: the bus never gets the message. ``after``: it does, and the sender never learns of it. ``passing``: a
    process is only notified and continues.
    """

    def __init__(self, upstream: str, spring: Callable[[], None], text: bytes, moment: Moment) -> None:
        self._upstream = urlsplit(upstream)
        self._spring = spring
        self._text = text
        self._moment = moment
        self.sprung = asyncio.Event()
        self._is_cut = False

    @contextlib.asynccontextmanager
    async def url(self) -> AsyncIterator[str]:
        """The address for the process that must die."""
        relays: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            relays.add(task)
            await self._relay(reader, writer)

        server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=READ_BYTES)
        credentials = self._upstream.netloc.rpartition("@")[0]
        try:
            yield f"nats://{credentials}@127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in relays:
                task.cancel()
            await asyncio.gather(*relays, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._upstream.hostname, self._upstream.port, limit=READ_BYTES)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._up(reader, back))
                group.create_task(self._down(there, writer))
        except* OSError:
            pass
        finally:
            for each in (writer, back):
                each.close()

    async def _up(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        seen = b""
        while not self._is_cut and (data := await source.read(READ_BYTES)):
            seen += data
            if not self.sprung.is_set() and self._text in seen:
                if self._moment == "passing":
                    self._spring()
                if self._moment == "before":
                    self._cut()
                    break  # the bus ignores an incomplete message
                # The rest of this message, if any, still passes; its answer does not.
                self.sprung.set()
            seen = seen[-len(self._text) :]
            target.write(data)
            await target.drain()
        target.close()

    async def _down(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while not self._is_cut and (data := await source.read(READ_BYTES)):
            if self._moment == "after" and self.sprung.is_set() and b"MSG " in data:
                self._cut()
                break
            target.write(data)
            await target.drain()
        target.close()

    def _cut(self) -> None:
        self._is_cut = True
        self._spring()
        self.sprung.set()
