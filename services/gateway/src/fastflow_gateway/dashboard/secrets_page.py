"""The page that encrypts a secret for a pipeline.json. I/O; nothing that is typed there is kept or shown again."""

from __future__ import annotations

from aiohttp import web

from fastflow_contracts.secrets.envelope import WEBHOOK_SECRET
from fastflow_gateway.actions.secrets import SecretBody, seal
from fastflow_gateway.dashboard.rendering import RENDERER
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http import requests
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.security.secrets import SEALER

NO_PLACE = "name the pipeline and the variable: the token will open there and nowhere else."


def setup(app: web.Application) -> None:
    """Add the page."""
    app.router.add_get("/secrets", secrets_page)
    app.router.add_post("/secrets", encrypt)


async def secrets_page(request: web.Request) -> web.Response:
    return _page(request, pipeline=request.query.get("pipeline", ""))


async def encrypt(request: web.Request) -> web.Response:
    """Show the token; on a refusal the form again, but for the value."""
    form = dict(await requests.form_of(request))
    pipeline, name = (form.get(field, "").strip() for field in ("pipeline", "name"))
    value = form.get("value", "").replace("\r\n", "\n")  # browsers send every line's end like that
    try:
        if not (pipeline and name):
            raise RequestRefused(422, NO_PLACE)
        token = seal(request, SecretBody(value=value, pipeline=pipeline, name=name))
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
        has_key=request.app[SEALER].has_key,
        pipeline_names=[record.name for record in request.app[MODEL].pipelines()],
        pipeline=pipeline,
        name=name,
        token=token,
        is_webhook=name == WEBHOOK_SECRET,
        error=error,
    )
