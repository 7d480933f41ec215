"""Liveness and readiness: /healthz and /readyz, and the names that other tools ask for."""

from __future__ import annotations

from aiohttp import web

from fastflow_api import shapes
from fastflow_gateway import app_keys
from fastflow_gateway.http.requests import answer
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel.model import MODEL


async def healthz(request: web.Request) -> web.Response:
    """Answer 200 while the bus connection can still recover: until it is closed, a restart does not help."""
    return _health(request, is_well=not request.app[app_keys.BUS].closed.is_set())


async def readyz(request: web.Request) -> web.Response:
    """Answer 200 when the bus is connected and the read model is up to date."""
    is_well = request.app[app_keys.BUS].is_connected and not request.app[MODEL].behind
    return _health(request, is_well=is_well)


def _health(request: web.Request, *, is_well: bool) -> web.Response:
    bus, behind = request.app[app_keys.BUS], request.app[MODEL].behind
    dependencies = {
        "bus": "ok" if bus.is_connected else "not connected",
        "model": f"still reading {', '.join(sorted(behind))}" if behind else "ok",
    }
    health = shapes.Health(status="ok" if is_well else "unavailable", dependencies=dependencies)
    return answer(health, status=200 if is_well else 503)


_WELL = {200: shapes.Health, 503: shapes.Health}
ROUTES = (
    Route("GET", "/healthz", healthz, "Liveness: 503 when the process needs a restart.", _WELL, is_public=True),
    Route("GET", "/readyz", readyz, "Readiness: 503 while the process cannot answer requests.", _WELL, is_public=True),
)
ALIASES = (
    *(Route("GET", path, healthz, is_public=True) for path in ("/health", "/api/health")),
    Route("GET", "/ready", readyz, is_public=True),
)
"""Where other tools ask for the same. The OpenAPI document has each answer once."""
