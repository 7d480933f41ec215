"""Wires the gateway together. Nothing else may live here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from aiohttp import web

from fastflow_contracts.service import until_stopped
from fastflow_contracts.wire import Bus
from fastflow_gateway import (
    keys,
    middleware,
    openapi,
    pages,
    routes_cells,
    routes_health,
    routes_links,
    routes_login,
    routes_logs,
    routes_pipelines,
    routes_runners,
    routes_runs,
    routes_scheduler,
    routes_secrets,
    routes_start,
    routes_sync,
    routes_webhooks,
)
from fastflow_gateway.api import Media, Route
from fastflow_gateway.auth import Gate
from fastflow_gateway.callers import Callers
from fastflow_gateway.door import DECISION_S, STORE_S, Door, open_door
from fastflow_gateway.files import Shelf
from fastflow_gateway.follow import Follower
from fastflow_gateway.guesses import Guesses
from fastflow_gateway.notebooks import NOTEBOOKS, Notebooks
from fastflow_gateway.protocol import Protocol
from fastflow_gateway.protocol_log import protocol_logger
from fastflow_gateway.readmodel import ReadModel
from fastflow_gateway.sealing import Sealer
from fastflow_gateway.settings import Settings, check
from fastflow_gateway.throttle import Throttle

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 4 * 1024 * 1024
"""Of any request; what a trigger may have is less and checked where it is made."""
BACKLOG = 1024
"""Connections that may wait to be accepted: after a restart everybody comes back at once."""
SHUTDOWN_S = STORE_S + DECISION_S + 1.0
"""How long requests under way may take to end."""


async def show_openapi(request: web.Request) -> web.Response:
    return web.Response(body=request.app[keys.OPENAPI], content_type="application/json")


ROUTES: tuple[Route, ...] = (
    *routes_health.ROUTES,
    *routes_links.ROUTES,
    *routes_pipelines.ROUTES,
    *routes_start.ROUTES,
    *routes_runs.ROUTES,
    *routes_logs.ROUTES,
    *routes_cells.ROUTES,
    *routes_webhooks.ROUTES,
    *routes_secrets.ROUTES,
    *routes_scheduler.ROUTES,
    *routes_runners.ROUTES,
    *routes_sync.ROUTES,
    Route("GET", "/api/openapi.json", show_openapi, "This document.", {200: Media("application/json", "OpenAPI 3.1.")}),
)
FOR_BROWSERS = frozenset({"/login", "/static/{file}"})
"""Paths besides the API's that need no session."""


def build_app(settings: Settings, *, bus: Bus, model: ReadModel, door: Door, follower: Follower) -> web.Application:
    """The application; its parts must be running."""
    app = web.Application(
        middlewares=[middleware.record, middleware.explain, middleware.guard], client_max_size=BODY_BYTES_MAX
    )
    app[keys.SETTINGS] = settings
    app[keys.BUS] = bus
    app[keys.MODEL] = model
    app[keys.DOOR] = door
    app[keys.FOLLOWER] = follower
    app[keys.SHELF] = Shelf(bus)
    app[NOTEBOOKS] = Notebooks(bus)
    app[keys.GATE] = Gate(settings.admin_token)
    app[keys.CALLERS] = Callers(settings.proxies)
    app[keys.THROTTLE] = Throttle(burst=10, per_minute=10)
    app[keys.GUESSES] = Guesses()
    app[keys.SEALER] = Sealer(settings.encryption_key)
    app[keys.REQUESTS] = Counter()
    app[keys.OPENAPI] = msgspec.json.encode(openapi.document(ROUTES))
    app[keys.PUBLIC] = FOR_BROWSERS | {route.path for route in ROUTES if route.is_public}
    for route in ROUTES:
        app.router.add_route(route.method, route.path, route.handler, expect_handler=middleware.expect)
        if route.method == "GET" and not route.is_stream:
            app.router.add_route("HEAD", route.path, route.handler)
    routes_login.setup(app)
    pages.setup(app)
    routes_cells.setup(app)
    app.on_response_prepare.append(middleware.dress)
    app.on_shutdown.append(_end_streams)
    return app


@contextlib.asynccontextmanager
async def gateway(settings: Settings, bus: Bus) -> AsyncIterator[str]:
    """A gateway that listens and has caught up; yields its address."""
    check(settings)
    async with asyncio.TaskGroup() as group:
        model = ReadModel(bus)
        following = group.create_task(model.serve(), name="model")
        async with open_door(bus, model) as door:
            app = build_app(settings, bus=bus, model=model, door=door, follower=Follower(bus, group))
            async with _listening(app, settings) as url:
                await model.caught_up()
                yield url
        following.cancel()


async def serve(settings: Settings, bus: Bus, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Answer requests until *stop* is set; open streams are ended then."""
    async with gateway(settings, bus) as url:
        log.info("listening on %s", url)
        ready()
        await until_stopped(stop, bus=bus)


@contextlib.asynccontextmanager
async def _listening(app: web.Application, settings: Settings) -> AsyncIterator[str]:
    runner, loop = web.AppRunner(app, handle_signals=False, shutdown_timeout=SHUTDOWN_S), asyncio.get_running_loop()
    await runner.setup()

    def protocol() -> Protocol:
        assert runner.server is not None
        no_log: Any = None  # an access log would hold keys; the type knows no way to have none
        return Protocol(runner.server, loop=loop, access_log=no_log, logger=protocol_logger())

    try:
        listener = await loop.create_server(protocol, settings.host, settings.port, backlog=BACKLOG)
        try:
            host, port = listener.sockets[0].getsockname()[:2]
            yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        finally:
            listener.close()
    finally:
        await runner.cleanup()


async def _end_streams(app: web.Application) -> None:
    app[keys.FOLLOWER].stop()
