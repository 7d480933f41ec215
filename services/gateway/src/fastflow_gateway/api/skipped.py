"""List refused starts, and redrive them."""

from __future__ import annotations

import uuid
from typing import Annotated

import msgspec
from aiohttp import web

from fastflow_api import shapes
from fastflow_gateway.actions import skips
from fastflow_gateway.api.runs.answers import STARTED, run_answer
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import answer, body_of, idempotency_key, query
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import skip_queries
from fastflow_gateway.readmodel.filters import SkipsQuery
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.skips import SkipFilter

_KEY = "Idempotency-Key"


class RedriveQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to redrive a skip."""

    again: Annotated[bool, msgspec.Meta(description="Start one more run, although the skip is redriven already.")] = (
        False
    )


async def list_skips(request: web.Request) -> web.Response:
    """Return a page of the skips that match the query."""
    wanted = query(request, SkipsQuery)
    return answer(
        await skip_queries.page(request.app[MODEL], wanted.filter(), limit=wanted.limit, cursor=wanted.cursor)
    )


async def show_skip(request: web.Request) -> web.Response:
    """Return one skip with its whole event."""
    skip = skip_queries.skip_with_id(request.app[MODEL], request.match_info["id"])
    return answer(await skip_queries.detail(request.app[MODEL], skip))


async def redrive_skip(request: web.Request) -> web.Response:
    """Start the message of a skip: 200 with the run, or 202 if no scheduler has answered yet."""
    skip = skip_queries.skip_with_id(request.app[MODEL], request.match_info["id"])
    key = idempotency_key(request, _KEY) or uuid.uuid4().hex if query(request, RedriveQuery).again else None
    return run_answer(request, await skips.redrive(request.app, skip, key=key))


async def redrive_skips(request: web.Request) -> web.Response:
    """Start the messages of all open skips that match."""
    body = await body_of(request)
    try:
        wanted = msgspec.json.decode(body if body.strip() else b"{}", type=shapes.RedriveBody)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestRefused(422, f"the body is not a filter of skips: {error}.") from error
    filters = SkipFilter(pipeline=wanted.pipeline, reason=wanted.reason, triggered_by=wanted.triggered_by)
    done = await skips.redrive_all(
        request.app, filters, dry_run=wanted.dry_run, cursor=wanted.cursor, expect=wanted.expect
    )
    return answer(done)


ROUTES = (
    Route(
        "GET",
        "/api/skipped",
        list_skips,
        "List starts that were refused, newest first, with their events.",
        {200: shapes.SkipPage},
        query=SkipsQuery,
    ),
    Route(
        "POST",
        "/api/skipped/redrive",
        redrive_skips,
        "Start the messages of all open skips that match, the oldest first; at most 500 at once. A message that is "
        "refused again stays a skip. 409: there are not as many as `expect` says.",
        {200: shapes.Redriven, 409: shapes.Error, 422: shapes.Error},
        body=shapes.RedriveBody,
    ),
    Route(
        "GET",
        "/api/skipped/{id}",
        show_skip,
        "Show one refused start, with its whole event.",
        {200: shapes.SkipDetail, 404: shapes.Error},
    ),
    Route(
        "POST",
        "/api/skipped/{id}/redrive",
        redrive_skip,
        "Start the message of a skip. Repeats return the same run, unless `again` is set. A message that is refused "
        "again stays a skip.",
        STARTED | {410: shapes.Error},
        query=RedriveQuery,
        headers={_KEY: "With `again`: requests with the same key start one run."},
    ),
)
