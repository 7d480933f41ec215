"""The page of one run, and its buttons. I/O: requests in, pages and redirects out."""

from __future__ import annotations

import uuid
from typing import Final

from aiohttp import web

from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.clock import now
from fastflow_contracts.ids import RunId
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs.artifacts.manifest import ArtifactManifest
from fastflow_contracts.runs.messages import RetriedCode
from fastflow_contracts.runs.run import RunRecord
from fastflow_gateway.actions import runs
from fastflow_gateway.dashboard.rendering import RENDERER
from fastflow_gateway.dashboard.view import facts, lineage, results
from fastflow_gateway.dashboard.view import models as drawn
from fastflow_gateway.dashboard.view.lineage import Chain
from fastflow_gateway.dashboard.view.results import ShownResult
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.middleware import POLICY
from fastflow_gateway.http.requests import form_of
from fastflow_gateway.http.route import Route
from fastflow_gateway.notebooks.sources import NOTEBOOKS
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.model import MODEL, ReadModel
from fastflow_gateway.readmodel.run_index import KnownRun
from fastflow_gateway.views import pipeline_shapes

log = get_logger(__name__)

CHILDREN: Final = 20
"""Most child runs, and most refused starts, on the page."""


async def run_page(request: web.Request) -> web.Response:
    """Show the run. The beginning of an id leads to it, too."""
    if run_id := queries.whole_id(request.app[MODEL], request.match_info["id"]):
        raise to_run(run_id)
    return await _run(request, await _known(request))


async def cancel(request: web.Request) -> web.Response:
    known = await _known(request)
    try:
        await runs.cancel(request.app, known)
    except RequestRefused as error:
        return await _run(request, await _known(request), flash=str(error), status=error.status)
    raise web.HTTPSeeOther(f"/runs/{known.run.id}")


async def retry(request: web.Request) -> web.Response:
    """Run it again with the same variables, and go to the new run."""
    known = await _known(request)
    form = dict(await form_of(request))
    key = form.get("key")
    code: RetriedCode = "current" if form.get("code") == "current" else "same"
    try:
        started = await runs.retry(request.app, known.run, triggered_by="manual", key=key or None, code=code)
    except RequestRefused as error:
        return await _run(request, known, flash=str(error), status=error.status)
    raise to_run(started)


async def _known(request: web.Request) -> KnownRun:
    return await queries.run_with_id(request.app[MODEL], request.match_info["id"])


async def _run(request: web.Request, known: KnownRun, *, flash: str | None = None, status: int = 200) -> web.Response:
    at = now()
    model = request.app[MODEL]
    run = queries.run(model, known.run)
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
        live="/live" if lineage.may_change(run, chain, at) else None,
        address=f"/runs/{run.id}" if flash else None,
        flash=flash,
        run=run,
        active=run.finished_at is None,
        phases=drawn.phases(run, at),
        facts=facts.run_facts(run),
        attempts=facts.attempts(run),
        chain=chain,
        crash_loop=pipeline_shapes.crash_loop(crashes) if is_in_loop else None,
        retry_key=fresh_key(),
        notebook=notebook,
        result=await _result(model, known.run),
        artifacts=await _artifacts(model, known.run),
        has_result=known.run.result_bytes is not None,
        refused_skip=run.id if run.refused and model.skips.get(known.run.id) else None,
    )
    if notebook:  # HTML outputs are shown in frames
        page.headers["Content-Security-Policy"] = f"{POLICY}; frame-src 'self'"
    return page


async def _chain(model: ReadModel, run: RunRecord) -> Chain:
    """Raises the errors of the bus: a parent that is not in the read model is looked up there."""
    parent = await model.run(run.order.parent_run_id) if run.order.parent_run_id is not None else None
    children = model.runs.children(run.id, CHILDREN + 1)
    skips = model.skips.after(run.id, CHILDREN)
    root = await model.run(run.order.root_run_id) if run.order.root_run_id is not None else None
    return lineage.chain(
        run, parent.run if parent else None, children, skips, children_max=CHILDREN, root=root.run if root else None
    )


async def _result(model: ReadModel, run: RunRecord) -> ShownResult | None:
    """What the page shows of the result; None if there is none, or none can be read now."""
    try:
        return results.shown(await model.result(run))
    except BusError as error:
        log.warning("result not read", run=run.id, error=str(error))
        return None


async def _artifacts(model: ReadModel, run: RunRecord) -> ArtifactManifest | None:
    """The files that it left; None if there is none, or none can be read now."""
    try:
        return await model.artifacts(run)
    except BusError as error:
        log.warning("artifacts not read", run=run.id, error=str(error))
        return None


def to_run(started: KnownRun | RunId) -> web.HTTPSeeOther:
    """Redirect to a run that was just started."""
    run_id = started.run.id if isinstance(started, KnownRun) else started
    return web.HTTPSeeOther(f"/runs/{run_id}")


def fresh_key() -> str:
    """A new idempotency key for a form: sent twice, the form starts one run."""
    return uuid.uuid4().hex


ROUTES = (
    Route("GET", "/runs/{id}", run_page),
    Route("POST", "/runs/{id}/cancel", cancel),
    Route("POST", "/runs/{id}/retry", retry),
)
