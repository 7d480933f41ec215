"""The raw stream of an attached container: an HTTP connection to the daemon, upgraded to bytes. I/O.

This module handles the upgrade and the daemon's framing of stdout and stderr. It does not use aiodocker's attach
helper, which inspects the container first and queues whole messages without a limit on bytes. Here one bounded
``StreamReader`` holds all data.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from typing import Final
from urllib.parse import urlsplit

STREAM_BYTES_MAX: Final = 256 * 1024
READ_BYTES: Final = 256 * 1024
CONNECT_TIMEOUT_S: Final = 10.0
_HEADER: Final = struct.Struct(">BxxxL")


class UpgradeRefused(Exception):
    """The daemon did not upgrade the connection."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class RawStream:
    """Both directions of one attachment, for one reader and any number of writers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._buffer = bytearray()

    @classmethod
    async def attach(cls, url: str, path: str, tls: ssl.SSLContext | None = None) -> RawStream:
        """POST *path* to the daemon at *url* (``unix:///…``, ``tcp://host:port``) and take over the connection.

        Raises:
            UpgradeRefused: the daemon gave another answer, which is the message.
            OSError: the connection failed.
            TimeoutError: no answer within ``CONNECT_TIMEOUT_S``.
        """
        parts = urlsplit(url)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            if parts.scheme == "unix":
                reader, writer = await asyncio.open_unix_connection(parts.path, limit=STREAM_BYTES_MAX)
            else:
                reader, writer = await asyncio.open_connection(
                    parts.hostname, parts.port, ssl=tls, limit=STREAM_BYTES_MAX
                )
            try:
                writer.write(
                    f"POST {path} HTTP/1.1\r\nHost: {parts.netloc or 'docker'}\r\n"
                    "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n".encode()
                )
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                status = int(head.split(maxsplit=2)[1])
                if status != 101:
                    body = (await reader.read(4096)).decode(errors="replace")
                    raise UpgradeRefused(status, body.strip())
            except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError, ValueError) as error:
                writer.close()
                raise UpgradeRefused(0, f"no HTTP answer: {error}") from error
            except BaseException:
                writer.close()
                raise
        return cls(reader, writer)

    @property
    def is_over(self) -> bool:
        """Whether the daemon has closed the stream and everything is read."""
        return self._reader.at_eof()

    async def read(self) -> list[tuple[int, bytes]]:
        """Return the next pieces as (1 = stdout or 2 = stderr, bytes); an empty list at the end. Raises ``OSError``.

        A cancelled read loses no data.
        """
        buffer = self._buffer
        pieces: list[tuple[int, bytes]] = []
        while not pieces:
            at = 0
            while len(buffer) - at >= _HEADER.size:
                stream, size = _HEADER.unpack_from(buffer, at)
                if len(buffer) - at - _HEADER.size < size:
                    break
                at += _HEADER.size + size
                pieces.append((stream, bytes(buffer[at - size : at])))
            del buffer[:at]
            if not pieces:
                if not (data := await self._reader.read(READ_BYTES)):
                    break
                buffer += data
        return pieces

    async def write(self, data: bytes) -> None:
        """Write all of *data*. Raises ``OSError``."""
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()
        try:
            async with asyncio.timeout(1):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()
