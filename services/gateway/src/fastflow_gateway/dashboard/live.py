"""Tells open pages that something changed: /live."""

from __future__ import annotations

import asyncio
import random
from typing import Final

from aiohttp import web

from fastflow_gateway.errors import Busy, RequestRefused
from fastflow_gateway.http.route import Route
from fastflow_gateway.http.sse import event, event_stream
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.streaming.followers import FOLLOWERS

GATHER_S: Final = 0.25
"""About the time within which changes are sent as one event. It varies: a thousand pages that are told in one instant
would make every other answer wait."""
CHANGED: Final = event("changed", None)


async def live(request: web.Request) -> web.StreamResponse:
    """Send the event ``changed`` at once, and again whenever the data of a page changes."""
    response = web.StreamResponse()
    followers, wake = request.app[FOLLOWERS], asyncio.Event()
    try:
        with followers.admitted(wake), request.app[MODEL].watching_all(wake):
            async with event_stream(request, response) as stream:
                await stream.send(CHANGED)
                while not followers.is_stopping:
                    if await stream.wait(wake):
                        await asyncio.sleep(GATHER_S * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
                        wake.clear()
                        await stream.send(CHANGED)
    except Busy as error:
        raise RequestRefused(503, str(error), headers={"Retry-After": "5"}) from error
    return response


ROUTES = (Route("GET", "/live", live, is_stream=True),)
