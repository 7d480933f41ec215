"""The dashboard: its routes, and what each page is made of. I/O: requests in, pages and redirects out.

Everything works with plain pages and forms; scripts only keep them fresh, by asking for the same page again whenever
``/live`` says that something changed. Who may come in, and that a form is ours, is checked before a handler here runs.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from fastflow_gateway import app_keys
from fastflow_gateway.dashboard import overview_pages, run_page, secrets_page
from fastflow_gateway.dashboard.live import live
from fastflow_gateway.dashboard.pipelines_page import pipeline_page, pipelines_page, start, start_page, sync
from fastflow_gateway.dashboard.rendering import RENDERER, Renderer
from fastflow_gateway.dashboard.runs_page import runs_page
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.security import sessions

TITLES: Final = {
    401: "Please sign in",
    403: "That is not allowed",
    404: "There is nothing here",
    409: "That does not work right now",
    429: "Too many at once",
    500: "Something broke here",
    503: "The bus does not answer",
    504: "That took too long",
}


def setup(app: web.Application) -> None:
    """Add the dashboard to an application whose other keys are set."""
    app[RENDERER] = Renderer()
    app[app_keys.LOGIN_PAGE] = login_page
    app[app_keys.ERROR_PAGE] = error_page
    app.router.add_get("/", pipelines_page)
    app.router.add_get("/pipelines/{name}", pipeline_page)
    app.router.add_get("/pipelines/{name}/start", start_page)
    app.router.add_post("/pipelines/{name}/start", start)
    app.router.add_get("/runs", runs_page)
    app.router.add_post("/sync", sync)
    run_page.setup(app)
    overview_pages.setup(app)
    app.router.add_get("/live", live)
    secrets_page.setup(app)
    app.router.add_get("/static/{file}", static)


async def static(request: web.Request) -> web.Response:
    file = request.match_info["file"]
    found = request.app[RENDERER].static(file, request.headers.get("If-None-Match"))
    if found is None:
        raise RequestRefused(404, f"there is no file {file[:80]!r}.")
    return found


def login_page(request: web.Request, status: int, error: str | None) -> web.Response:
    target = request.query.get("next") if request.path == "/login" else request.path_qs
    return request.app[RENDERER].page(
        request, "login.html", status=status, signed_in=False, error=error, next=sessions.local_path(target)
    )


def error_page(request: web.Request, status: int, detail: str) -> web.Response:
    title = TITLES.get(status, "That did not work")
    return request.app[RENDERER].page(request, "error.html", status=status, title=title, detail=detail)
