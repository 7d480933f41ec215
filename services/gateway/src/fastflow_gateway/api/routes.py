"""All routes of the API; the OpenAPI document lists them."""

from __future__ import annotations

from fastflow_gateway.api import (
    cells,
    events,
    health,
    jobs,
    links,
    log_lines,
    logs,
    metrics,
    openapi,
    pipelines,
    run_ids,
    run_stream,
    runners,
    runs,
    secrets,
    skipped,
    start,
    sync,
    webhooks,
)
from fastflow_gateway.http.route import Route

ROUTES: tuple[Route, ...] = (
    *health.ROUTES,
    *metrics.ROUTES,
    *links.ROUTES,
    *pipelines.ROUTES,
    *start.ROUTES,
    *events.ROUTES,
    *run_ids.ROUTES,
    *runs.ROUTES,
    *run_stream.ROUTES,
    *logs.ROUTES,
    *log_lines.ROUTES,
    *cells.ROUTES,
    *webhooks.ROUTES,
    *secrets.ROUTES,
    *jobs.ROUTES,
    *skipped.ROUTES,
    *runners.ROUTES,
    *sync.ROUTES,
    *openapi.ROUTES,
)
