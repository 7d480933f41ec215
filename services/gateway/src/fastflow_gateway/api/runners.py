"""Runners: which are alive, how much they hold."""

from __future__ import annotations

from aiohttp import web

from fastflow_api import shapes
from fastflow_gateway.http.requests import answer
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.model import MODEL


async def list_runners(request: web.Request) -> web.Response:
    return answer(shapes.Runners(runners=queries.runners(request.app[MODEL])))


ROUTES = (Route("GET", "/api/runners", list_runners, "The runners that are alive.", {200: shapes.Runners}),)
