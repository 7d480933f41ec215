"""The real Docker daemon behind a relay, which holds back or refuses the removal of containers."""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path
from typing import Self

READ_BYTES = 256 * 1024
REMOVAL = b"DELETE /v1.41/containers/"
REFUSAL = b'{"message": "device or resource busy"}'


class SlowDaemon:
    """Passes everything on, but a removal only while ``pass_removals`` is set."""

    def __init__(self, path: Path, upstream: str = "/var/run/docker.sock", *, holds: str = "") -> None:
        """*holds*: a pattern; the beginning of the names of the containers that this is about."""
        self._holds = re.compile(holds)
        self.url = f"unix://{path}"
        self.pass_removals = asyncio.Event()
        self.refusals = 0
        """How many of the next removals the daemon refuses."""
        self.asked: list[str] = []
        """The container of each removal, in the order in which they came."""
        self.at_once = 0
        """How many removals are being held back."""
        self.at_once_max = 0
        self._path = path
        self._upstream = upstream
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._accept, self._path, limit=READ_BYTES)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until_asked(self, count: int) -> None:
        """Wait until *count* removals have come."""
        async with asyncio.timeout(60):
            while len(self.asked) < count:
                await asyncio.sleep(0.02)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        up_reader, up_writer = await asyncio.open_unix_connection(self._upstream, limit=READ_BYTES)
        answers = asyncio.create_task(_copy(up_reader, writer))
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):  # Python 3.11 logs a cancelled handler
                while data := await reader.read(READ_BYTES):
                    if data.startswith(REMOVAL) and not await self._passes(data, writer):
                        continue
                    up_writer.write(data)
                    await up_writer.drain()
                up_writer.write_eof()
                await answers
        finally:
            answers.cancel()
            for each in (writer, up_writer):
                each.close()

    async def _passes(self, request: bytes, writer: asyncio.StreamWriter) -> bool:
        name = request.removeprefix(REMOVAL).split(b"?")[0].decode()
        if not self._holds.match(name):
            return True
        self.asked.append(name)
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        await self.pass_removals.wait()
        self.at_once -= 1
        if not self.refusals:
            return True
        self.refusals -= 1
        writer.write(
            b"HTTP/1.1 500 X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(REFUSAL) + REFUSAL
        )
        await writer.drain()
        return False


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
