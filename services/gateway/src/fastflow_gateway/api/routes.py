"""All routes of the API, which its document lists."""

from __future__ import annotations

from fastflow_gateway.api import (
    cells,
    health,
    jobs,
    links,
    logs,
    metrics,
    openapi,
    pipelines,
    runners,
    runs,
    secrets,
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
    *runs.ROUTES,
    *logs.ROUTES,
    *cells.ROUTES,
    *webhooks.ROUTES,
    *secrets.ROUTES,
    *jobs.ROUTES,
    *runners.ROUTES,
    *sync.ROUTES,
    *openapi.ROUTES,
)
