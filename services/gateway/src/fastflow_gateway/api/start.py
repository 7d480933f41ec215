"""Start a run: POST /api/pipelines/{name}/run."""

from __future__ import annotations

import json

from aiohttp import web
from msgspec.structs import replace

from fastflow_api import shapes
from fastflow_contracts.runs.event_headers import event_headers
from fastflow_contracts.runs.messages import Trigger
from fastflow_contracts.runs.triggers import BadTrigger, read_run_body
from fastflow_gateway.actions import runs
from fastflow_gateway.actions.skips import client_letter, keep
from fastflow_gateway.api.runs import STARTED, run_answer
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import body_of, idempotency_key
from fastflow_gateway.http.route import Route
from fastflow_gateway.http.triggered_by import HEADER, triggered_by
from fastflow_gateway.readmodel.queries import pipeline_name


async def start_run(request: web.Request) -> web.Response:
    """Start a run of a pipeline."""
    name = pipeline_name(request.match_info["name"])
    body = await body_of(request)
    try:
        trigger = read_run_body(json.loads(body) if body.strip() else {})
    except (BadTrigger, ValueError, RecursionError) as error:
        detail = str(error) if isinstance(error, BadTrigger) else f"the body must be JSON: {error}."
        refusal = RequestRefused(422, detail)
        wanted = Trigger(triggered_by=triggered_by(request))
        await keep(request.app, name, client_letter(body, request.headers), wanted, refusal)
        raise refusal from error
    trigger = replace(
        trigger,
        triggered_by=triggered_by(request),
        key=idempotency_key(request, "Idempotency-Key"),
        event_headers=event_headers(request.headers, has_event=False),
    )
    return run_answer(request, await runs.start(request.app, name, trigger))


ROUTES = (
    Route(
        "POST",
        "/api/pipelines/{name}/run",
        start_run,
        "Start a run. 202: the trigger is stored and the run comes; it has ended with the reason if the start is "
        "refused after all. 429: max_instances is reached.",
        STARTED,
        body=shapes.RunBody,
        headers={
            "Idempotency-Key": "Requests with the same key start one run.",
            **HEADER,
        },
    ),
)
