"""All routes of the API; the OpenAPI document lists them."""

from __future__ import annotations

from fastflow_gateway.api import (
    health,
    jobs,
    links,
    login_codes,
    metrics,
    openapi,
    operations,
    pipelines,
    runners,
    secrets,
    skipped,
    sync,
    webhooks,
)
from fastflow_gateway.api.runs import cells, ids, log, log_lines, publish, runs, samples, start, stream
from fastflow_gateway.http.route import Route

ROUTES: tuple[Route, ...] = (
    *health.ROUTES,
    *metrics.ROUTES,
    *links.ROUTES,
    *pipelines.ROUTES,
    *start.ROUTES,
    *publish.ROUTES,
    *ids.ROUTES,
    *operations.ROUTES,
    *runs.ROUTES,
    *stream.ROUTES,
    *log.ROUTES,
    *log_lines.ROUTES,
    *samples.ROUTES,
    *cells.ROUTES,
    *webhooks.ROUTES,
    *secrets.ROUTES,
    *jobs.ROUTES,
    *skipped.ROUTES,
    *runners.ROUTES,
    *sync.ROUTES,
    *login_codes.ROUTES,
    *openapi.ROUTES,
)
