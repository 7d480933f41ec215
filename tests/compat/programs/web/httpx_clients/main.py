"""httpx, with and without asyncio, against applications in this process."""

import asyncio

import httpx


def answer(request):
    if request.url.path == "/slow":
        raise httpx.ReadTimeout("too slow", request=request)
    return httpx.Response(200, json={"path": request.url.path, "q": dict(request.url.params)})


with httpx.Client(transport=httpx.MockTransport(answer), base_url="http://shop") as client:
    print(client.get("/items", params={"q": "grün"}).json())
    try:
        client.get("/slow")
    except httpx.TimeoutException as error:
        print(type(error).__name__, error)


async def main():
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://shop") as client:
        answers = await asyncio.gather(*(client.get(f"/{number}") for number in range(5)))
        print([answer.json()["path"] for answer in answers])


asyncio.run(main())
