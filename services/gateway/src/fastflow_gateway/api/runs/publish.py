"""Start a run with an event, like a message on ``ff.trigger.<pipeline>``: POST /api/pipelines/{name}/events."""

from __future__ import annotations

from aiohttp import web
from msgspec.structs import replace

from fastflow_contracts.runs.messages import TRIGGER_TYPE, Trigger
from fastflow_contracts.runs.triggers import read_trigger
from fastflow_gateway.actions import runs
from fastflow_gateway.actions.skips import kept_if_refused
from fastflow_gateway.api.runs.answers import STARTED, start_answer
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import body_of, idempotency_key
from fastflow_gateway.http.route import Media, Route
from fastflow_gateway.http.waiting import PREFER_HEADERS, WaitQuery, wait_of
from fastflow_gateway.readmodel.queries import pipeline_name

_KEY = "Idempotency-Key"


async def publish_event(request: web.Request) -> web.Response:
    """Read the body as an event and start a run with it."""
    name, body = pipeline_name(request.match_info["name"]), await body_of(request)
    if request.content_type == TRIGGER_TYPE:  # it sets triggered_by, which no client may choose here
        raise RequestRefused(422, f"the media type {TRIGGER_TYPE} is reserved; send the event with its own media type.")
    async with kept_if_refused(request.app, name, body, request.headers, Trigger(), status=422):
        wait = wait_of(request)
        trigger = read_trigger(body, _headers(request))
    key = idempotency_key(request, _KEY) or trigger.key
    return await start_answer(request, await runs.start(request.app, name, replace(trigger, key=key)), wait)


def _headers(request: web.Request) -> dict[str, str]:
    """Return the headers as a message has them; bytes that are not text are replaced."""
    return {
        name: value.encode(errors="replace").decode()
        for name, value in request.headers.items()
        if name.lower() != "nats-msg-id"
    }


ROUTES = (
    Route(
        "POST",
        "/api/pipelines/{name}/events",
        publish_event,
        "Start a run with an event, like a message on the pipeline's subject. The body is a CloudEvent (structured or "
        "binary), a JSON object of env_vars, parameters and run_config_id, or any other data. An event becomes the "
        "file that FASTFLOW_EVENT_FILE names.",
        STARTED,
        body=Media("*/*", "Any data, or an empty body."),
        query=WaitQuery,
        headers={_KEY: "Requests with the same key start one run. A CloudEvent has its own."} | PREFER_HEADERS,
    ),
)
