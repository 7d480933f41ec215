"""The forms on a pipeline's page that make and remove downstream triggers."""

from __future__ import annotations

from aiohttp import web
from msgspec.structs import replace

from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_gateway.actions import links
from fastflow_gateway.dashboard.pipelines_page import show_pipeline
from fastflow_gateway.dashboard.view.link_form import AFTER, read_link_form
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import form_of
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.model import MODEL


async def make_link(request: web.Request) -> web.Response:
    """Make the trigger and show the page. If it is refused, show the form again."""
    record = await _record(request)
    form = read_link_form(await form_of(request))
    try:
        if form.after not in AFTER:
            raise RequestRefused(422, f"after is one of {', '.join(AFTER)}.")
        success, failure = AFTER[form.after]
        await links.make(
            request.app,
            record,
            form.pipeline,
            form.run_config_id or None,
            on_route=form.on_route,
            needs_artifacts=form.needs_artifacts,
            success=success,
            failure=failure,
        )
    except RequestRefused as error:
        return await show_pipeline(request, link_form=replace(form, error=str(error)), status=error.status)
    raise _back(record)


async def remove_link(request: web.Request) -> web.Response:
    record = await _record(request)
    try:
        await links.remove(request.app, record, request.match_info["link"])
    except RequestRefused as error:
        return await show_pipeline(request, flash=str(error), status=error.status)
    raise _back(record)


async def _record(request: web.Request) -> PipelineRecord:
    return await queries.pipeline_named(request.app[MODEL], request.match_info["name"])


def _back(record: PipelineRecord) -> web.HTTPSeeOther:
    return web.HTTPSeeOther(f"/pipelines/{record.name}#downstream")


_PATH = "/pipelines/{name}/downstream-triggers"
ROUTES = (
    Route("POST", _PATH, make_link),
    Route("POST", _PATH + "/{link}/remove", remove_link),
)
