"""All routes of the API; the OpenAPI document lists them."""

from __future__ import annotations

from fastflow_gateway.api import (
    git_hooks,
    health,
    jobs,
    links,
    login_codes,
    metrics,
    openapi,
    operations,
    pauses,
    pipelines,
    runners,
    secrets,
    simulation,
    skipped,
    sync,
    versions,
    webhooks,
)
from fastflow_gateway.api.runs import cells, ids, log, log_lines, publish, result, runs, samples, start, stream
from fastflow_gateway.http.route import Route

ROUTES: tuple[Route, ...] = (
    *health.ROUTES,
    *metrics.ROUTES,
    *links.ROUTES,
    *pipelines.ROUTES,
    *versions.ROUTES,
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
    *result.ROUTES,
    *webhooks.ROUTES,
    *secrets.ROUTES,
    *jobs.ROUTES,
    *pauses.ROUTES,
    *simulation.ROUTES,
    *skipped.ROUTES,
    *runners.ROUTES,
    *sync.ROUTES,
    *git_hooks.ROUTES,
    *login_codes.ROUTES,
    *openapi.ROUTES,
)
