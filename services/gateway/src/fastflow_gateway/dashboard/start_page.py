"""The form that starts a run."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.runs.triggers import BadTrigger
from fastflow_gateway.actions import runs
from fastflow_gateway.dashboard.rendering import RENDERER
from fastflow_gateway.dashboard.run_page import fresh_key, to_run
from fastflow_gateway.dashboard.view.start_form import StartForm, read_form, trigger_of
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import form_of
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries, version_queries
from fastflow_gateway.readmodel.model import MODEL


async def start_page(request: web.Request) -> web.Response:
    chosen = request.query.get("version", "")
    return await _page(request, await _record(request), StartForm(key=fresh_key(), version=chosen))


async def start(request: web.Request) -> web.Response:
    """Start the run and go to its page. If the start is refused, show the form again."""
    record = await _record(request)
    form = read_form(await form_of(request))
    schema = _schema(record)
    try:
        trigger = trigger_of(form, schema)
        started = await runs.start(request.app, record.name, trigger)
    except runs.WrongParameters as error:
        return await _page(
            request, record, form.refused_parameters(error.wrong, schema, fresh_key()), status=error.status
        )
    except (BadTrigger, RequestRefused) as error:
        return await _page(request, record, form.refused(str(error), fresh_key()), status=error.status)
    raise to_run(started)


async def _record(request: web.Request) -> PipelineRecord:
    return await queries.pipeline_named(request.app[MODEL], request.match_info["name"])


async def _page(request: web.Request, record: PipelineRecord, form: StartForm, *, status: int = 200) -> web.Response:
    pipeline = queries.pipeline(request.app[MODEL], record, last_runs=1)
    return request.app[RENDERER].page(
        request,
        "start.html",
        status=status,
        here="pipelines",
        pipeline=pipeline,
        form=form,
        versions=(await version_queries.versions(request.app[MODEL], record)).versions,
        **_described(record, form),
    )


def _described(record: PipelineRecord, form: StartForm) -> dict[str, Any]:
    """What the page shows of the schema."""
    schema = _schema(record)
    spec = record.live.spec if record.live else None
    return {
        "fields": form.fields(schema),
        "takes_others": schema is None or schema.get("additionalProperties") is not False,
        "has_schedule_values": spec is not None and any(entry.parameters for entry in spec.schedules),
    }


def _schema(record: PipelineRecord) -> dict[str, Any] | None:
    return record.live.parameters if record.live else None


ROUTES = (
    Route("GET", "/pipelines/{name}/start", start_page),
    Route("POST", "/pipelines/{name}/start", start),
)
