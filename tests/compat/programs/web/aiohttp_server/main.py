"""An aiohttp server and its client: JSON, a stream, a web socket, an error."""

import asyncio

from aiohttp import ClientResponseError, ClientSession, web


async def items(request):
    return web.json_response({"got": await request.json()})


async def stream(request):
    response = web.StreamResponse()
    await response.prepare(request)
    for number in range(3):
        await response.write(f"part {number}\n".encode())
    return response


async def talk(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data[::-1])
    return socket


async def main():
    app = web.Application()
    app.add_routes([web.post("/items", items), web.get("/stream", stream), web.get("/socket", talk)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    async with ClientSession(f"http://127.0.0.1:{port}", raise_for_status=True) as session:
        async with session.post("/items", json={"name": "ü"}) as answer:
            print(await answer.json())
        async with session.get("/stream") as answer:
            print((await answer.text()).splitlines())
        async with session.ws_connect("/socket") as socket:
            await socket.send_str("hello")
            print(await socket.receive_str())
        try:
            await session.get("/missing")
        except ClientResponseError as error:
            print(error.status, error.message)
    await runner.cleanup()


asyncio.run(main())
