"""Prometheus metrics: /metrics."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from fastflow_api import shapes
from fastflow_contracts.bus.decoding import unreadable
from fastflow_contracts.clock import now
from fastflow_contracts.runs.run import RunStatus
from fastflow_gateway import app_keys
from fastflow_gateway.actions.waits import WAITS
from fastflow_gateway.api.health import failed_parts
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.access import check_metrics_access
from fastflow_gateway.http.connections import CONNECTIONS
from fastflow_gateway.http.request_metrics import REQUEST_METRICS
from fastflow_gateway.http.route import Media, Route
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.settings import SETTINGS
from fastflow_gateway.streaming.followers import FOLLOWERS


class StateCollector(Collector):
    """Compute metrics from the read model at each scrape."""

    def __init__(self, app: web.Application) -> None:
        self._app = app

    def collect(self) -> Iterable[Metric]:
        """Yield metrics of runs, runners, pipelines and the gateway itself."""
        app, model = self._app, self._app[MODEL]
        runs = GaugeMetricFamily("fastflow_runs", "Runs known, by pipeline and status.", labels=("pipeline", "status"))
        for name, counts in sorted(model.runs.all_counts().items()):
            for status in RunStatus:
                runs.add_metric((name, status), counts.of(status))
        yield runs
        runners = model.runners(now())
        yield _gauge("runners", "Runners that are alive.", len(runners))
        yield _gauge("runner_slots", "Runs they may hold at once.", sum(runner.slots for runner in runners))
        yield _gauge("runner_slots_busy", "Runs they hold.", sum(runner.busy for runner in runners))
        yield _gauge("pipelines", "Pipelines listed.", len(model.pipelines()))
        paused = model.pauses.now
        yield _gauge("paused", "1 while the installation is paused.", int(paused.installation is not None))
        yield _gauge("pipelines_paused", "Pipelines that are paused one by one.", len(paused.pipelines))
        yield _gauge("gateway_streams", "Streams open on this gateway.", app[FOLLOWERS].followers)
        yield _gauge("gateway_waits", "Callers that wait for the end of a run.", app[WAITS].waiting)
        yield _gauge("gateway_connections", "Connections open to this gateway.", len(app[CONNECTIONS]))
        yield _gauge("degraded_parts", "Parts of services that /readyz calls degraded.", len(failed_parts(app)))
        is_connected = app[app_keys.BUS].is_connected
        yield _gauge("gateway_bus_connected", "1 while this gateway has its bus.", int(is_connected))
        stores = int(not app[app_keys.STORAGE].complaint)
        yield _gauge("gateway_bus_stores", "1 while the bus stores what it is sent; alert on 0.", stores)
        passed_over = CounterMetricFamily(
            "fastflow_gateway_unreadable_records",
            "Records and messages from the bus that could not be read and were skipped, by kind.",
            labels=("kind",),
        )
        for kind, number in sorted(unreadable.items()):
            passed_over.add_metric((kind,), number)
        yield passed_over


async def metrics(request: web.Request) -> web.Response:
    """Answer with all metrics; 404 when they are switched off."""
    if not request.app[SETTINGS].metrics:
        raise RequestRefused(404, "metrics are disabled; set FASTFLOW_METRICS=true to enable them.")
    await check_metrics_access(request)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StateCollector(request.app))
    registry.register(request.app[REQUEST_METRICS])
    return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


def _gauge(name: str, says: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"fastflow_{name}", says, value=value)


ROUTES = (
    Route(
        "GET",
        "/metrics",
        metrics,
        "Metrics for Prometheus. They need FASTFLOW_METRICS_TOKEN or the token as Authorization: Bearer, unless the "
        "gateway listens on this machine only and no FASTFLOW_METRICS_TOKEN is set.",
        {200: Media("text/plain", "Prometheus text format."), 401: shapes.Error, 404: shapes.Error},
        is_public=True,
    ),
)
