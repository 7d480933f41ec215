"""Counts of answered requests and their durations, for /metrics."""

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
"""Label of requests without a route: their paths could be anything."""


class RequestMetrics(Collector):
    """Counts every answer. The middleware calls ``record``."""

    def __init__(self) -> None:
        self._answers: Counter[int] = Counter()
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "fastflow_gateway_request_duration_seconds",
            "Time until a request was answered, by method and route, without streams of events and waits for "
            "the end of a run.",
            ("method", "route"),
            buckets=BUCKETS_S,
            registry=self._registry,
        )

    def record(self, method: str, route: str | None, status: int, took_s: float | None) -> None:
        """Count one answer.

        Args:
            method: The request's method.
            route: The path as declared; None: no route matches.
            status: The answer's status.
            took_s: Seconds from request to answer; None for a stream, which lasts as long as its client.
        """
        self._answers[status] += 1
        if took_s is not None:
            self._seconds.labels(method if route else NO_ROUTE, route or NO_ROUTE).observe(took_s)

    def collect(self) -> Iterable[Metric]:
        """Yield the answers by status, and the durations."""
        answers = CounterMetricFamily(
            "fastflow_gateway_requests", "Requests this gateway has answered.", labels=("status",)
        )
        for status, number in sorted(self._answers.items()):
            answers.add_metric((str(status),), number)
        yield answers
        for metric in self._registry.collect():
            # The library adds a creation time to every series: one more line for each route, of no use.
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


WAITED_S = web.RequestKey("WAITED_S", float)
"""How long an answer was held back because its client wants to wait."""
REQUEST_METRICS = web.AppKey("REQUEST_METRICS", RequestMetrics)
