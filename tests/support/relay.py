"""A proxy to the bus that can be cut and restored: while cut, data neither arrives nor is known to be lost."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self
from urllib.parse import urlsplit

READ_BYTES = 256 * 1024


class Relay:
    """Sits between one service and the bus.

    Cut, it keeps connections open but carries nothing, as a broken network does.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream)
        self._whole = asyncio.Event()
        self._whole.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=READ_BYTES)
        credentials = self._upstream.netloc.rpartition("@")[0]
        self.url = f"nats://{credentials}@127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:  # sockets must be closed: the loop may end with the test
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def cut(self) -> None:
        self._whole.clear()

    def drop(self) -> None:
        """Close every connection, and lose what is on its way."""
        for task in self._tasks:
            task.cancel()

    def mend(self) -> None:
        self._whole.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        async with contextlib.AsyncExitStack() as stack:
            self._writers.append(writer)
            stack.callback(writer.close)
            there, back = await asyncio.open_connection(self._upstream.hostname, self._upstream.port, limit=READ_BYTES)
            self._writers.append(back)
            stack.callback(back.close)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(reader, back))
                group.create_task(self._carry(there, writer))

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(READ_BYTES):
                await self._whole.wait()
                target.write(data)
                await target.drain()
        target.close()
