"""Is it alive, could it work, and how much is going on: /healthz, /readyz, /metrics."""

from __future__ import annotations

from collections.abc import Iterator

from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.clock import now
from fastflow_contracts.runs.run import Status
from fastflow_gateway import app_keys
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import answer
from fastflow_gateway.http.route import Media, Route
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.streaming.channels import FOLLOWERS


async def healthz(request: web.Request) -> web.Response:
    """Alive as long as the connection to the bus may come back: starting anew would not help before that."""
    return _health(request, is_well=not request.app[app_keys.BUS].closed.is_set())


async def readyz(request: web.Request) -> web.Response:
    is_well = request.app[app_keys.BUS].is_connected and not request.app[MODEL].behind
    return _health(request, is_well=is_well)


async def metrics(request: web.Request) -> web.Response:
    if not request.app[app_keys.SETTINGS].metrics:
        raise RequestRefused(404, "metrics are switched off here; set FASTFLOW_METRICS=true to have them.")
    text = "\n".join(_lines(request.app)) + "\n"
    return web.Response(body=text.encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def _health(request: web.Request, *, is_well: bool) -> web.Response:
    bus, behind = request.app[app_keys.BUS], request.app[MODEL].behind
    dependencies = {
        "bus": "ok" if bus.is_connected else "not connected",
        "model": f"still reading {', '.join(sorted(behind))}" if behind else "ok",
    }
    health = shapes.Health(status="ok" if is_well else "unavailable", dependencies=dependencies)
    return answer(health, status=200 if is_well else 503)


def _lines(app: web.Application) -> Iterator[str]:
    model = app[MODEL]
    yield "# HELP fastflow_runs Runs known, by pipeline and status."
    yield "# TYPE fastflow_runs gauge"
    for name, counts in sorted(model.runs.all_counts().items()):
        for status in Status:
            yield f'fastflow_runs{{pipeline="{name}",status="{status}"}} {counts.of(status)}'
    runners = model.runners(now())
    for metric, value, says in (
        ("runners", len(runners), "Runners that are alive."),
        ("runner_slots", sum(runner.slots for runner in runners), "Runs they may hold at once."),
        ("runner_slots_busy", sum(runner.busy for runner in runners), "Runs they hold."),
        ("pipelines", len(model.pipelines()), "Pipelines listed."),
        ("gateway_streams", app[FOLLOWERS].followers, "Streams open on this gateway."),
        ("gateway_bus_connected", int(app[app_keys.BUS].is_connected), "1 while this gateway has its bus."),
    ):
        yield f"# HELP fastflow_{metric} {says}"
        yield f"# TYPE fastflow_{metric} gauge"
        yield f"fastflow_{metric} {value}"
    yield "# HELP fastflow_gateway_requests_total Requests this gateway has answered."
    yield "# TYPE fastflow_gateway_requests_total counter"
    for http_status, number in sorted(app[app_keys.REQUESTS].items()):
        yield f'fastflow_gateway_requests_total{{status="{http_status}"}} {number}'


_WELL = {200: shapes.Health, 503: shapes.Health}
ROUTES = (
    Route("GET", "/healthz", healthz, "Is this process worth keeping?", _WELL, is_public=True),
    Route("GET", "/readyz", readyz, "Can it answer requests?", _WELL, is_public=True),
    Route(
        "GET",
        "/metrics",
        metrics,
        "Figures for Prometheus.",
        {200: Media("text/plain", "Prometheus text format."), 404: shapes.Error},
        is_public=True,
    ),
)
