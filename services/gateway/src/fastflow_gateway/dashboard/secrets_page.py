"""The page that encrypts a secret for a pipeline.json. I/O. The value is neither stored nor shown again."""

from __future__ import annotations

from aiohttp import web

from fastflow_contracts.secrets.envelope import WEBHOOK_SECRET
from fastflow_gateway.actions.secrets import has_key, seal
from fastflow_gateway.dashboard.rendering import RENDERER
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import form_of
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel.model import MODEL

NO_PLACE = "name the pipeline and the variable: the token will open there and nowhere else."


async def secrets_page(request: web.Request) -> web.Response:
    return _page(request, pipeline=request.query.get("pipeline", ""))


async def encrypt(request: web.Request) -> web.Response:
    """Show the token. After an error show the form again, without the value."""
    form = dict(await form_of(request))
    pipeline, name = (form.get(field, "").strip() for field in ("pipeline", "name"))
    value = form.get("value", "").replace("\r\n", "\n")  # browsers send CRLF line breaks
    try:
        if not (pipeline and name):
            raise RequestRefused(422, NO_PLACE)
        token = seal(request.app, value, pipeline=pipeline, name=name)
    except RequestRefused as error:
        return _page(request, pipeline=pipeline, name=name, error=str(error), status=error.status)
    return _page(request, pipeline=pipeline, name=name, token=token)


def _page(
    request: web.Request,
    *,
    pipeline: str = "",
    name: str = "",
    token: str | None = None,
    error: str | None = None,
    status: int = 200,
) -> web.Response:
    return request.app[RENDERER].page(
        request,
        "secrets.html",
        status=status,
        here="secrets",
        has_key=has_key(request.app),
        pipeline_names=[record.name for record in request.app[MODEL].pipelines()],
        pipeline=pipeline,
        name=name,
        token=token,
        is_webhook=name == WEBHOOK_SECRET,
        error=error,
    )


ROUTES = (
    Route("GET", "/secrets", secrets_page),
    Route("POST", "/secrets", encrypt),
)
