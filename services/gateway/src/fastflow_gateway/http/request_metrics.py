"""How many requests were answered, and how long that took: for /metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
NO_ROUTE: Final = "none"
"""Label of requests that lead nowhere: their paths are anything."""


class RequestMetrics(Collector):
    """Told by the middleware of every answer."""

    def __init__(self) -> None:
        self._answers: Counter[int] = Counter()
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "fastflow_gateway_request_duration_seconds",
            "Time until a request was answered, by method and route; streams of events are left out.",
            ("method", "route"),
            buckets=BUCKETS_S,
            registry=self._registry,
        )

    def record(self, method: str, route: str | None, status: int, took_s: float | None) -> None:
        """Count one answer.

        Args:
            method: Of the request.
            route: The path as it is declared; None: the request leads nowhere.
            status: Of the answer.
            took_s: Seconds from request to answer; None: it is a stream, which lasts as long as its client.
        """
        self._answers[status] += 1
        if took_s is not None:
            self._seconds.labels(method if route else NO_ROUTE, route or NO_ROUTE).observe(took_s)

    def collect(self) -> Iterable[Metric]:
        """The answers by status, and the durations."""
        answers = CounterMetricFamily(
            "fastflow_gateway_requests", "Requests this gateway has answered.", labels=("status",)
        )
        for status, number in sorted(self._answers.items()):
            answers.add_metric((str(status),), number)
        yield answers
        for metric in self._registry.collect():
            # Of every series the library adds when it began; that is one more line for each route and says nothing.
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


REQUEST_METRICS = web.AppKey("REQUEST_METRICS", RequestMetrics)
