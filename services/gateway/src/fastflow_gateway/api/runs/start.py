"""Start a run: POST /api/pipelines/{name}/run."""

from __future__ import annotations

import json
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec.structs import replace

from fastflow_api import shapes
from fastflow_contracts.runs.event_headers import event_headers
from fastflow_contracts.runs.messages import Trigger
from fastflow_contracts.runs.triggers import read_run_body
from fastflow_gateway.actions import runs
from fastflow_gateway.actions.skips import kept_if_refused
from fastflow_gateway.api.runs.answers import STARTED, start_answer
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import body_of, idempotency_key, query
from fastflow_gateway.http.route import Route
from fastflow_gateway.http.triggered_by import triggered_by
from fastflow_gateway.http.waiting import PREFER_HEADERS, WaitQuery, wait_of
from fastflow_gateway.readmodel.queries import pipeline_name


class StartQuery(WaitQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to start a run."""

    allow_undeclared: Annotated[
        bool,
        msgspec.Meta(
            description="Let env_vars and parameters set variables that the pipeline does not declare. It is for what "
            "a person types; a program that passes on what others say leaves it out."
        ),
    ] = False


async def start_run(request: web.Request) -> web.Response:
    """Start a run of a pipeline. Each holder of the token is an operator, and may ask for an operator's start."""
    by_operator, wait = query(request, StartQuery).allow_undeclared, wait_of(request)
    name = pipeline_name(request.match_info["name"])
    body = await body_of(request)
    wanted = Trigger(triggered_by=triggered_by(request))
    async with kept_if_refused(request.app, name, body, request.headers, wanted, status=422):
        trigger = read_run_body(_json(body), by_operator=True)
    trigger = replace(
        trigger,
        triggered_by=triggered_by(request),
        by_operator=by_operator,
        key=idempotency_key(request, "Idempotency-Key"),
        event_headers=event_headers(request.headers, has_event=False),
    )
    return await start_answer(request, await runs.start(request.app, name, trigger), wait)


def _json(body: bytes) -> object:
    try:
        return json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError) as error:
        raise RequestRefused(422, f"the body must be JSON: {error}.") from error


ROUTES = (
    Route(
        "POST",
        "/api/pipelines/{name}/run",
        start_run,
        "Start a run. It sets only variables that the pipeline declares in default_env or accepts_env, unless "
        "`allow_undeclared` is set. 202: the trigger is stored and the run comes, after a pause if there is one; it "
        "has ended with the reason if the start is refused after all. 429: max_instances is reached.",
        STARTED,
        body=shapes.RunBody,
        query=StartQuery,
        headers={"Idempotency-Key": "Requests with the same key start one run."} | PREFER_HEADERS,
    ),
)
