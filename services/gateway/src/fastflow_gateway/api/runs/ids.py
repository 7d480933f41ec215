"""Find runs by the first characters of their ids: GET /api/runs/ids."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web

from fastflow_api import shapes
from fastflow_gateway.http.requests import answer, query
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel.model import MODEL

IDS_MAX = 20
PREFIX_CHARACTERS_MIN = 4


class PrefixQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which ids to find."""

    prefix: Annotated[
        str,
        msgspec.Meta(min_length=PREFIX_CHARACTERS_MIN, max_length=36, description="First characters of the ids."),
    ]


async def list_run_ids(request: web.Request) -> web.Response:
    """List the run ids that start with a prefix."""
    found = request.app[MODEL].runs.ids_beginning(query(request, PrefixQuery).prefix.lower())
    return answer(shapes.RunIds(ids=tuple(found[:IDS_MAX]), total=len(found)))


ROUTES = (
    Route(
        "GET",
        "/api/runs/ids",
        list_run_ids,
        f"List the first {IDS_MAX} run ids that start with the prefix.",
        {200: shapes.RunIds},
        query=PrefixQuery,
    ),
)
