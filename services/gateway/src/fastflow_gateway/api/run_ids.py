"""Find runs by the beginning of an id: GET /api/runs/ids."""

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
    """How the ids begin."""

    prefix: Annotated[
        str, msgspec.Meta(min_length=PREFIX_CHARACTERS_MIN, max_length=36, description="How the ids begin.")
    ]


async def list_run_ids(request: web.Request) -> web.Response:
    found = request.app[MODEL].runs.ids_beginning(query(request, PrefixQuery).prefix.lower())
    return answer(shapes.RunIds(ids=tuple(found[:IDS_MAX]), total=len(found)))


ROUTES = (
    Route(
        "GET",
        "/api/runs/ids",
        list_run_ids,
        f"Ids of the runs that begin like this, the first {IDS_MAX}.",
        {200: shapes.RunIds},
        query=PrefixQuery,
    ),
)
