"""Wires the gateway together, and does nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
from aiohttp import web

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs.room import Room
from fastflow_contracts.secrets.sealing import Sealer
from fastflow_contracts.service.lifecycle import until_stopped
from fastflow_contracts.service.parts import keep
from fastflow_contracts.service.storage_watch import StorageWatch
from fastflow_gateway import app_keys
from fastflow_gateway.actions.calls import answering_calls
from fastflow_gateway.actions.simulations import SIMULATOR, Simulator
from fastflow_gateway.actions.trigger_client import (
    DECISION_S,
    STORE_S,
    TRIGGER_CLIENT,
    TriggerClient,
    open_trigger_client,
)
from fastflow_gateway.actions.waits import WAITS, Waits
from fastflow_gateway.api import health, openapi, routes
from fastflow_gateway.api.health import STILL_STARTING, StillStarting
from fastflow_gateway.dashboard import pages
from fastflow_gateway.dashboard.rendering import RENDERER, Renderer
from fastflow_gateway.errors import CannotListen
from fastflow_gateway.http import middleware
from fastflow_gateway.http.access import IS_SPENT
from fastflow_gateway.http.browsers import PUBLIC_URL
from fastflow_gateway.http.compression import compress
from fastflow_gateway.http.connections import CONNECTIONS, Connections
from fastflow_gateway.http.listener import connections_room, listening
from fastflow_gateway.http.listener import open_sockets as open_sockets  # for those who call `serve`
from fastflow_gateway.http.protocol import Protocol
from fastflow_gateway.http.protocol_log import protocol_logger
from fastflow_gateway.http.request_metrics import REQUEST_METRICS, RequestMetrics
from fastflow_gateway.http.route import Route
from fastflow_gateway.notebooks.sources import NOTEBOOKS, Notebooks
from fastflow_gateway.readmodel.bundle_files import BUNDLE_FILES, BundleFiles
from fastflow_gateway.readmodel.model import MODEL, ReadModel
from fastflow_gateway.security.client_address import CLIENT_ADDRESSES, ClientAddresses
from fastflow_gateway.security.sealer import SEALER
from fastflow_gateway.security.sessions import SESSIONS, Sessions
from fastflow_gateway.security.token_guard import TOKEN_GUARD, TokenGuard
from fastflow_gateway.security.webhook_guard import WEBHOOK_GUARD, WebhookGuard
from fastflow_gateway.settings import SETTINGS, GatewaySettings, check
from fastflow_gateway.streaming.followers import FOLLOWERS, Followers
from fastflow_gateway.streaming.stored import STORED_READS, StoredReads
from fastflow_gateway.streaming.tail import LOG_TAILS, LogTails

log = get_logger(__name__)

BODY_BYTES_MAX = 4 * 1024 * 1024
"""Largest body of any request. The limit of a trigger is smaller; the trigger client checks it."""
SHUTDOWN_S = STORE_S + DECISION_S + 1.0
"""How long open requests may take to end at a stop."""


ROUTES: tuple[Route, ...] = (*routes.ROUTES, *health.ALIASES, *pages.ROUTES)


def build_app(
    settings: GatewaySettings,
    *,
    bus: Bus,
    model: ReadModel,
    storage: StorageWatch,
    trigger_client: TriggerClient,
    followers: Followers,
    still_starting: StillStarting | None = None,
) -> web.Application:
    """Build the application. Its parts must already be running. *still_starting*: see ``serve``."""
    app = web.Application(
        middlewares=[middleware.record, compress, middleware.explain, middleware.guard],
        client_max_size=BODY_BYTES_MAX,
    )
    app[SETTINGS] = settings
    app[app_keys.BUS] = bus
    app[MODEL] = model
    app[app_keys.STORAGE] = storage
    app[TRIGGER_CLIENT] = trigger_client
    app[FOLLOWERS] = followers
    app[WAITS] = Waits(model)
    app[SIMULATOR] = Simulator(model)
    app[STORED_READS] = StoredReads(bus)
    app[LOG_TAILS] = LogTails(app[STORED_READS])
    app[BUNDLE_FILES] = BundleFiles(bus)
    app[NOTEBOOKS] = Notebooks(bus)
    app[STILL_STARTING] = still_starting
    app[SESSIONS] = Sessions(settings.admin_token)
    app[PUBLIC_URL] = settings.public_url
    app[CLIENT_ADDRESSES] = ClientAddresses(settings.proxies)
    app[CONNECTIONS] = _connections(settings, app[CLIENT_ADDRESSES])
    app[TOKEN_GUARD] = TokenGuard()
    app[IS_SPENT] = model.is_spent
    app[WEBHOOK_GUARD] = WebhookGuard(calls_per_minute=settings.webhook_calls_per_minute)
    app[app_keys.ROOM] = Room(bus, full_percent=settings.runs_full_percent)
    app[SEALER] = Sealer(settings.encryption_key)
    app[REQUEST_METRICS] = RequestMetrics()
    app[RENDERER] = Renderer()
    app[openapi.OPENAPI] = msgspec.json.encode(openapi.document(routes.ROUTES))
    app[middleware.ERROR_PAGE] = pages.error_page
    app[middleware.PUBLIC] = frozenset(route.path for route in ROUTES if route.is_public)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, route.handler, expect_handler=middleware.expect)
        if route.method == "GET" and not route.is_stream:
            app.router.add_route("HEAD", route.path, route.handler)
    app.on_response_prepare.append(middleware.dress)
    app.on_shutdown.append(_end_streams)
    return app


@contextlib.asynccontextmanager
async def gateway(
    settings: GatewaySettings,
    bus: Bus,
    *,
    still_starting: StillStarting | None = None,
    sockets: Sequence[socket.socket] = (),
) -> AsyncIterator[str]:
    """Run a gateway; yield its URL once it listens and has caught up with the bus. Arguments: see ``serve``."""
    check(settings)
    async with asyncio.TaskGroup() as group:
        model = ReadModel(bus)
        following = group.create_task(model.serve(), name="model")
        storage = StorageWatch(bus)
        watching = group.create_task(keep("gateway/storage", storage.serve), name="storage")
        async with open_trigger_client(bus, model) as client:
            followers = Followers(bus, group)
            app = build_app(
                settings,
                bus=bus,
                model=model,
                storage=storage,
                trigger_client=client,
                followers=followers,
                still_starting=still_starting,
            )
            async with _listening(app, settings, sockets) as url:
                await model.caught_up()
                _keep_from_collector()
                async with answering_calls(app):
                    yield url
        following.cancel()
        watching.cancel()


async def serve(
    settings: GatewaySettings,
    bus: Bus,
    stop: asyncio.Event,
    ready: Callable[[], None],
    *,
    still_starting: StillStarting | None = None,
    sockets: Sequence[socket.socket] = (),
) -> None:
    """Answer requests until *stop* is set; then end the open streams.

    Args:
        settings: The settings.
        bus: The connection.
        stop: Ends it.
        ready: Called once it answers.
        still_starting: Where one process is the whole installation: which of its services are not ready yet.
        sockets: Where to listen, open already; closed after *stop*, and left open for the next call after an error.
            Default: at the address of the settings.
    """
    async with gateway(settings, bus, still_starting=still_starting, sockets=sockets) as url:
        log.info("address opened", url=url)
        ready()
        await until_stopped(stop, bus=bus)
    if stop.is_set():
        for each in sockets:
            each.close()


@contextlib.asynccontextmanager
async def waiting(settings: GatewaySettings) -> AsyncIterator[None]:
    """Listen while there is no bus: the process is alive, and not ready. Raises ``CannotListen``."""
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app[CONNECTIONS] = _connections(settings, ClientAddresses(settings.proxies))
    app.router.add_route("*", "/{path:.*}", health.without_bus)
    async with _listening(app, settings):
        yield


@contextlib.asynccontextmanager
async def _listening(
    app: web.Application, settings: GatewaySettings, sockets: Sequence[socket.socket] = ()
) -> AsyncIterator[str]:
    runner, loop = web.AppRunner(app, handle_signals=False, shutdown_timeout=SHUTDOWN_S), asyncio.get_running_loop()
    connections = app[CONNECTIONS]
    await runner.setup()

    def protocol() -> Protocol:
        assert runner.server is not None
        options: dict[str, Any] = {"loop": loop, "keepalive_timeout": settings.keep_alive_s}
        # No access log: it would contain keys.
        return Protocol(runner.server, connections=connections, access_log=None, logger=protocol_logger(), **options)

    try:
        async with contextlib.AsyncExitStack() as stack:
            if not sockets:
                try:
                    sockets = await open_sockets(settings.host, settings.port)
                except OSError as error:
                    raise CannotListen(settings.host, settings.port, error) from error
                for each in sockets:
                    stack.enter_context(each)
            host, port = await stack.enter_async_context(listening(sockets, connections, protocol))
            yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def _connections(settings: GatewaySettings, addresses: ClientAddresses) -> Connections:
    most = connections_room(settings.connections_max)
    return Connections(
        most=most,
        most_per_client=settings.connections_per_client_max or max(1, most // 2),
        addresses=addresses,
        header_s=settings.header_s,
    )


def _keep_from_collector() -> None:
    """Leave everything that is known now out of later garbage collections.

    A full collection visits every object of the process, also the whole history of runs, and answers wait meanwhile:
    tens of milliseconds. What is frozen is still freed as soon as nothing refers to it.
    """
    gc.collect()
    gc.freeze()


async def _end_streams(app: web.Application) -> None:
    app[FOLLOWERS].stop()
    app[WAITS].stop()
