"""All services in one process: their settings, and their common start and end. ``up`` does the printing."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

import fastflow_gateway.app
import fastflow_runner.app
import fastflow_scheduler.app
import fastflow_syncer.app
from fastflow.errors import CliError
from fastflow.local.settings_table import SETTINGS
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.permissions import User
from fastflow_contracts.log import get_logger
from fastflow_contracts.service.bus_wait import bus_ready
from fastflow_contracts.service.lifecycle import keep_serving
from fastflow_contracts.service.settings import BadSettings, load, names

log = get_logger(__name__)

STOP_S = 20.0
"""How long all services together may take to stop before they are cancelled."""

Serve = Callable[[Any, Bus, asyncio.Event, Callable[[], None]], Coroutine[Any, Any, None]]

_SERVE: Mapping[str, Serve] = {
    "gateway": fastflow_gateway.app.serve,
    "syncer": fastflow_syncer.app.serve,
    "scheduler": fastflow_scheduler.app.serve,
}


class ServiceEnded(CliError):
    """A service ended without a request to stop."""


COMMAND_VARIABLES = {"FASTFLOW_URL", "FASTFLOW_TOKEN", "FASTFLOW_TOKEN_FILE"}
"""Variables that only the commands read, not the services."""


class ServicePart(NamedTuple):
    """One service with its settings."""

    name: str
    settings: Any
    serve: Serve


def parts(environ: Mapping[str, str], *, say: Callable[[str], None], address: str = "") -> list[ServicePart]:
    """All services, configured by *environ*.

    Args:
        environ: Their settings.
        say: Receives the runner's progress lines.
        address: Of the dashboard: runs get links to it, unless the settings name another one.

    Raises:
        BadSettings: Some settings cannot be used.
    """
    serve: Mapping[str, Serve] = {**_SERVE, "runner": functools.partial(fastflow_runner.app.serve, say=say)}
    known = names(*SETTINGS.values()) | COMMAND_VARIABLES
    found: list[ServicePart] = []
    problems: list[str] = []
    for name, struct in SETTINGS.items():
        try:
            settings: Any = load(struct, environ, also_known=known)
            if name == "runner" and not settings.public_url:
                settings = replace(settings, public_url=address)
            found.append(ServicePart(name, settings, serve[name]))
        except BadSettings as error:
            problems += error.problems
    if problems:
        raise BadSettings(*dict.fromkeys(problems))
    return found


async def run(
    all_parts: list[ServicePart],
    url: str,
    stop: asyncio.Event,
    ready: Callable[[], None],
    *,
    seeds: Mapping[User, str],
    sockets: Sequence[socket.socket],
) -> None:
    """Run every part on its own bus connection until *stop* is set; call *ready* once all of them can work.

    A service that fails starts again while the others go on. What only a person can mend ends all of them; so does a
    service that ends without *stop*, except for a runner that was drained.

    Args:
        all_parts: The services.
        url: The address of the bus.
        stop: Set it to end all parts.
        ready: Called once.
        seeds: The NKEY of each service's user, if the bus knows them; else *url* has the credentials.
        sockets: Where the gateway listens.

    Raises:
        ExceptionGroup: Everything that went wrong.
    """
    starting = {part.name for part in all_parts}

    def part_ready(name: str) -> None:
        starting.discard(name)
        if not starting:
            ready()

    def told(part: ServicePart) -> ServicePart:
        """The gateway reports ready when all services are."""
        if part.name != User.GATEWAY.value:
            return part
        serve = fastflow_gateway.app.serve
        return part._replace(
            serve=functools.partial(serve, still_starting=lambda: frozenset(starting), sockets=sockets)
        )

    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_run(told(part), url, seeds, stop, part_ready), name=part.name) for part in all_parts
        ]
        await stop.wait()
        _, late = await asyncio.wait(tasks, timeout=STOP_S)
        if late:
            names_ = ", ".join(sorted(task.get_name() for task in late))
            raise ServiceEnded(f"{names_} did not stop within {STOP_S:.0f} s and was cancelled.")


async def _run(
    part: ServicePart, url: str, seeds: Mapping[User, str], stop: asyncio.Event, ready: Callable[[str], None]
) -> None:
    user = User(part.name)
    seed = seeds.get(user, "")

    async def life(life_ready: Callable[[], None]) -> None:
        name = f"fastflow-{part.name}"
        async with bus_ready(url, user=user, name=name, seed=seed, tls=part.settings.tls) as bus:
            await part.serve(part.settings, bus, stop, life_ready)

    await keep_serving(part.name, life, stop, lambda: ready(part.name))
    if stop.is_set():
        return
    if user is not User.RUNNER:
        raise ServiceEnded(f"the {part.name} ended unexpectedly; its last log lines may say why.")
    log.warning("runner left", advice="runs wait for another runner, or for the next `fastflow up`")
