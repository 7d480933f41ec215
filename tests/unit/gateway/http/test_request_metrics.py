"""What ``GET /metrics`` says of requests."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from fastflow_gateway.http.request_metrics import RequestMetrics


def test_answers_are_counted_and_timed_by_route() -> None:
    """A stream has no duration, an unknown path has no label of its own, and no series has a start time."""
    metrics, registry = RequestMetrics(), CollectorRegistry()
    registry.register(metrics)
    metrics.record("GET", "/api/runs/{id}", 200, 0.02)
    metrics.record("GET", "/api/runs/{id}/logs/stream", 200, None)
    metrics.record("BREW", None, 404, 0.001)
    counted = "fastflow_gateway_requests_total"
    assert registry.get_sample_value(counted, {"status": "200"}) == 2
    assert registry.get_sample_value(counted, {"status": "404"}) == 1
    timed, run = "fastflow_gateway_request_duration_seconds", {"method": "GET", "route": "/api/runs/{id}"}
    assert registry.get_sample_value(f"{timed}_bucket", run | {"le": "0.01"}) == 0
    assert registry.get_sample_value(f"{timed}_bucket", run | {"le": "0.025"}) == 1
    assert registry.get_sample_value(f"{timed}_count", {"method": "none", "route": "none"}) == 1
    text = generate_latest(registry).decode()
    assert "/logs/stream" not in text
    assert "_created" not in text
