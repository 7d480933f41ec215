"""Liveness and readiness: /healthz and /readyz, and the names that other tools ask for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Final, Literal

from aiohttp import web

from fastflow_api import shapes
from fastflow_api.formatting import exact
from fastflow_contracts.clock import now
from fastflow_contracts.service.parts import degraded
from fastflow_gateway import app_keys
from fastflow_gateway.http.requests import answer
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel.model import MODEL

OK: Final = "ok"
ALIVE: Final = frozenset({"/healthz", "/health", "/api/health"})
RETRY_AFTER_S: Final = 5
"""What a client hears while there is no bus."""
StillStarting = Callable[[], Collection[str]]
"""Names the services of this process that are not ready yet."""
STILL_STARTING: web.AppKey[StillStarting | None] = web.AppKey("STILL_STARTING")
"""Set where this process is the whole installation (``fastflow up``): ready then means that a run can start."""


async def healthz(request: web.Request) -> web.Response:
    """Answer 200 while the bus connection can still recover: until it is closed, a restart does not help."""
    return _health(_of_the_gateway(request), is_well=not request.app[app_keys.BUS].closed.is_set())


async def readyz(request: web.Request) -> web.Response:
    """Answer 200 when the bus is connected and stores what it is sent, and the read model is up to date.

    If this process also runs the other services, they must have started too: the pipelines are synced, and a runner
    takes work, and there is room for new runs. A gateway that runs alone reports these, and is ready without them.
    """
    own, others = (
        _of_the_gateway(request),
        _of_the_others(request) | {"room": await request.app[app_keys.ROOM].complaint() or OK},
    )
    needed = own if request.app[STILL_STARTING] is None else own | others
    return _health(
        own | others | {"pause": _pause(request)},
        is_well=set(needed.values()) == {OK},
        failed=failed_parts(request.app),
        unreadable=request.app[MODEL].unreadable,
    )


async def without_bus(request: web.Request) -> web.Response:
    """Answer while the process waits for the bus: it is alive, and can do nothing."""
    is_alive = request.path in ALIVE
    response = _health({"bus": "not connected yet"}, is_well=is_alive)
    if not is_alive:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _pause(request: web.Request) -> str:
    """What is paused. It is wanted, so it makes nothing unready; its reason is for people with the token."""
    paused = request.app[MODEL].pauses.now
    if paused.installation is not None:
        return f"no new run begins since {exact(paused.installation.at)}; GET /api/pause says why"
    return f"pipelines paused: {len(paused.pipelines)}; GET /api/pause lists them" if paused.pipelines else OK


def _of_the_gateway(request: web.Request) -> dict[str, str]:
    behind = request.app[MODEL].behind
    return {
        "bus": OK if request.app[app_keys.BUS].is_connected else "not connected",
        "model": f"still reading {', '.join(sorted(behind))}" if behind else OK,
        "storage": request.app[app_keys.STORAGE].complaint or OK,
    }


def _of_the_others(request: web.Request) -> dict[str, str]:
    model, still_starting = request.app[MODEL], request.app[STILL_STARTING]
    starting = sorted(still_starting()) if still_starting is not None else []
    takes_work = any(not (runner.leaving or runner.paused) for runner in model.runners(now()))
    is_synced = model.sync is not None and model.sync.live is not None
    return {
        **({"services": f"still starting: {', '.join(starting)}" if starting else OK} if still_starting else {}),
        "pipelines": OK if is_synced else "no sync has succeeded yet; GET /api/sync/status says why",
        "runner": OK if takes_work else "no runner takes work",
    }


def failed_parts(app: web.Application) -> tuple[str, ...]:
    """Return the degraded parts of this process, then of other services. Without hosts: anybody may ask."""
    others = (part for record in app[MODEL].troubles.at(now()) for part in record.parts)
    return tuple(dict.fromkeys((*map(str, degraded()), *others)))


def _health(
    dependencies: Mapping[str, str],
    *,
    is_well: bool,
    failed: tuple[str, ...] = (),
    unreadable: Mapping[str, int] = MappingProxyType({}),
) -> web.Response:
    status: Literal["ok", "degraded", "unavailable"] = "degraded" if failed or unreadable else "ok"
    health = shapes.Health(
        status=status if is_well else "unavailable",
        dependencies=dict(dependencies),
        degraded=failed,
        unreadable=dict(unreadable),
    )
    return answer(health, status=200 if is_well else 503)


_WELL = {200: shapes.Health, 503: shapes.Health}
ROUTES = (
    Route("GET", "/healthz", healthz, "Liveness: 503 when the process needs a restart.", _WELL, is_public=True),
    Route(
        "GET",
        "/readyz",
        readyz,
        "Readiness: 503 while the process cannot answer requests; under `fastflow up` also while no run can start. "
        "Each dependency is `ok`, or says what is missing. With 200 and `degraded` it works: a part failed and started "
        "again, or stored records cannot be read.",
        _WELL,
        is_public=True,
    ),
)
ALIASES = (
    *(Route("GET", path, healthz, is_public=True) for path in sorted(ALIVE - {"/healthz"})),
    Route("GET", "/ready", readyz, is_public=True),
)
"""Where other tools ask for the same. The OpenAPI document has each answer once."""
