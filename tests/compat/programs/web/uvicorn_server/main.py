"""uvicorn with a Starlette application, in a thread."""

import threading
import time

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route


async def home(request):
    return JSONResponse({"path": request.url.path, "query": request.query_params.get("q")})


async def text(request):
    return PlainTextResponse("grün")


app = Starlette(routes=[Route("/", home), Route("/text", text)])
server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    time.sleep(0.01)
port = server.servers[0].sockets[0].getsockname()[1]
with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
    print(client.get("/", params={"q": 1}).json(), client.get("/text").text, client.get("/none").status_code)
server.should_exit = True
thread.join()
