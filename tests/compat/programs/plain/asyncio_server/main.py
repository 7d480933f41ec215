"""A server and its client on the loopback interface and on a Unix socket."""

import asyncio
import tempfile
from pathlib import Path


async def shout(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()


async def ask(reader, writer):
    writer.write(b"hello\nw\xc3\xb6rld\n")
    writer.write_eof()
    print((await reader.read()).decode("utf-8", "replace").split())
    writer.close()
    await writer.wait_closed()


async def main():
    async with await asyncio.start_server(shout, "127.0.0.1", 0) as server:
        await ask(*await asyncio.open_connection(*server.sockets[0].getsockname()))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "socket")
        async with await asyncio.start_unix_server(shout, path):
            await ask(*await asyncio.open_unix_connection(path))


asyncio.run(main())
