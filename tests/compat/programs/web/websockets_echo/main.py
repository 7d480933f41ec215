"""The package websockets: a server and two clients."""

import asyncio

import websockets


async def echo(connection):
    async for message in connection:
        await connection.send(message.upper())


async def main():
    async with websockets.serve(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for text in ("one", "zwölf"):
            async with websockets.connect(f"ws://127.0.0.1:{port}") as client:
                await client.send(text)
                print(await client.recv())


asyncio.run(main())
