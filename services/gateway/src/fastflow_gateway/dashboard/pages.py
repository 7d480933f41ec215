"""The dashboard: all its routes, its static files, and its error page.

Everything works with plain pages and forms. Scripts only refresh them: they load the same page again whenever
``/live`` reports a change. Middleware checks the session and the origin of forms before a handler here runs.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from fastflow_gateway.dashboard import (
    again_page,
    graph_page,
    links_form,
    live,
    login,
    operations_page,
    output_frame,
    pause_forms,
    pipelines_page,
    run_page,
    runners_page,
    runs_page,
    schedules_page,
    secrets_page,
    simulation_page,
    skipped_page,
    start_page,
    versions_form,
)
from fastflow_gateway.dashboard.rendering import RENDERER
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.route import Route

TITLES: Final = {
    401: "Please sign in",
    403: "That is not allowed",
    404: "Not found",
    409: "That does not work right now",
    429: "Too many requests",
    500: "Something broke here",
    503: "The bus does not answer",
    504: "That took too long",
}


async def static(request: web.Request) -> web.Response:
    file = request.match_info["file"]
    found = request.app[RENDERER].static(request, file)
    if found is None:
        raise RequestRefused(404, f"there is no file {file[:80]!r}.")
    return found


def error_page(request: web.Request, status: int, detail: str) -> web.Response:
    """The page that a browser gets for an error."""
    title = TITLES.get(status, "That did not work")
    return request.app[RENDERER].page(request, "error.html", status=status, title=title, detail=detail)


ROUTES: tuple[Route, ...] = (
    *login.ROUTES,
    *pipelines_page.ROUTES,
    *links_form.ROUTES,
    *pause_forms.ROUTES,
    *start_page.ROUTES,
    *versions_form.ROUTES,
    *runs_page.ROUTES,
    *run_page.ROUTES,
    *again_page.ROUTES,
    *operations_page.ROUTES,
    *output_frame.ROUTES,
    *graph_page.ROUTES,
    *runners_page.ROUTES,
    *schedules_page.ROUTES,
    *simulation_page.ROUTES,
    *secrets_page.ROUTES,
    *skipped_page.ROUTES,
    *live.ROUTES,
    Route("GET", "/static/{file}", static, is_public=True),
)
