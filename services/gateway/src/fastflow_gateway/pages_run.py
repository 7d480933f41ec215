"""The page of one run, and what its buttons do. I/O: requests in, pages and redirects out."""

from __future__ import annotations

import uuid
from typing import Final

from aiohttp import web

from fastflow_contracts.ids import RunId
from fastflow_contracts.run import Run
from fastflow_contracts.service import now
from fastflow_gateway import actions, api, keys, pages_chain, views
from fastflow_gateway import pages_facts as facts
from fastflow_gateway import pages_views as drawn
from fastflow_gateway.history import Known
from fastflow_gateway.middleware import POLICY
from fastflow_gateway.notebooks import NOTEBOOKS
from fastflow_gateway.pages_chain import Chain
from fastflow_gateway.pages_render import RENDERER
from fastflow_gateway.readmodel import ReadModel

CHILDREN: Final = 20
"""Shown of the runs that came from one, and of the refused starts."""


def setup(app: web.Application) -> None:
    """Add the page and its forms."""
    app.router.add_get("/runs/{id}", run_page)
    app.router.add_post("/runs/{id}/cancel", cancel)
    app.router.add_post("/runs/{id}/retry", retry)


async def run_page(request: web.Request) -> web.Response:
    return await _run(request, await api.known_run(request))


async def cancel(request: web.Request) -> web.Response:
    known = await api.known_run(request)
    try:
        await actions.cancel(request.app, known)
    except api.Refused as error:
        return await _run(request, await api.known_run(request), flash=str(error), status=error.status)
    raise web.HTTPSeeOther(f"/runs/{known.run.id}")


async def retry(request: web.Request) -> web.Response:
    """Start it once more, with the same code and variables, and go to the new run."""
    known = await api.known_run(request)
    key = dict(await api.form_of(request)).get("key")
    try:
        started = await actions.retry(request.app, known.run, triggered_by="manual", key=key or None)
    except api.Refused as error:
        return await _run(request, known, flash=str(error), status=error.status)
    raise to_run(started)


async def _run(request: web.Request, known: Known, *, flash: str | None = None, status: int = 200) -> web.Response:
    at = now()
    model = request.app[keys.MODEL]
    run = views.run(known.run, capacity=model.capacity(at), now=at)
    chain = await _chain(model, known.run)
    crashes = model.crashes(run.pipeline_name, at)
    crashed = {crash.id for crash in crashes}
    is_in_loop = run.id in crashed or (run.finished_at is None and run.parent_run_id in crashed)
    notebook = await request.app[NOTEBOOKS].shown(known.run) if known.run.order.kind == "notebook" else ()
    page = request.app[RENDERER].page(
        request,
        "run.html",
        status=status,
        here="runs",
        live="/live" if pages_chain.may_change(run, chain, at) else None,
        address=f"/runs/{run.id}" if flash else None,
        flash=flash,
        run=run,
        active=run.finished_at is None,
        phases=drawn.phases(run, at),
        facts=facts.run_facts(run),
        attempts=facts.attempts(run),
        chain=chain,
        crash_loop=views.crash_loop(crashes) if is_in_loop else None,
        retry_key=fresh_key(),
        notebook=notebook,
    )
    if notebook:  # outputs that are HTML are shown in frames
        page.headers["Content-Security-Policy"] = f"{POLICY}; frame-src 'self'"
    return page


async def _chain(model: ReadModel, run: Run) -> Chain:
    """Raises what the bus raises: a parent that is not known here is looked up there."""
    parent = await model.run(run.order.parent_run_id) if run.order.parent_run_id is not None else None
    children = model.history.children(run.id, CHILDREN + 1)
    skips = model.refusals.after(run.id, CHILDREN)
    return pages_chain.chain(run, parent.run if parent else None, children, skips, children_max=CHILDREN)


def to_run(started: Known | RunId) -> web.HTTPSeeOther:
    run_id = started.run.id if isinstance(started, Known) else started
    return web.HTTPSeeOther(f"/runs/{run_id}")


def fresh_key() -> str:
    return uuid.uuid4().hex
