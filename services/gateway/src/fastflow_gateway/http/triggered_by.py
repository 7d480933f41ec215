"""Who starts a run over HTTP, by what the gateway saw of the request: never by what the caller says."""

from __future__ import annotations

from aiohttp import web

from fastflow_contracts.runs.run import TriggeredBy
from fastflow_gateway.http.browsers import SESSION


def triggered_by(request: web.Request) -> TriggeredBy:
    """The value for the run's record: ``manual`` for a signed-in browser, ``api`` for a holder of the token."""
    return "manual" if SESSION in request else "api"
