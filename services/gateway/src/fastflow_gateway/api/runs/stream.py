"""Stream the changes of a run: GET /api/runs/{id}/stream."""

from __future__ import annotations

import asyncio

from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.clock import now
from fastflow_gateway.http.route import Media, Route
from fastflow_gateway.http.sse import EVENT_STREAM, LAST_EVENT_ID, STREAMED, event, event_stream
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.streaming import events
from fastflow_gateway.streaming.followers import FOLLOWERS
from fastflow_gateway.views import run_shapes


async def follow_run_record(request: web.Request) -> web.StreamResponse:
    """Stream the current state of the run, then its newest state after each change, until the run is over."""
    model, follower = request.app[MODEL], request.app[FOLLOWERS]
    known = await queries.run_with_id(model, request.match_info["id"])
    wake, response = asyncio.Event(), web.StreamResponse()
    # The id is the record's revision: a client that reconnects with the newest one has missed nothing.
    sent = events.parse_event_id(request.headers.get("Last-Event-ID")).sequence
    with model.watching(known.run.id, wake), follower.admitted(wake):
        async with event_stream(request, response) as out:
            while not follower.is_stopping:
                wake.clear()
                known = model.runs.get(known.run.id) or known
                if known.revision > sent:
                    at = now()
                    shown = run_shapes.run(known.run, capacity=model.capacity(at), now=at)
                    await out.send(event("run", shown, event_id=str(known.revision)))
                    sent = known.revision
                if known.run.is_over:
                    await out.send(event("end", {"status": known.run.status}))
                    break
                await out.wait(wake)
    return response


ROUTES = (
    Route(
        "GET",
        "/api/runs/{id}/stream",
        follow_run_record,
        "Stream the run as Run in events named `run`: first its current state, then each change. Changes in quick "
        "succession may share one event.",
        {200: Media(EVENT_STREAM, STREAMED), 404: shapes.Error},
        headers=LAST_EVENT_ID,
        is_stream=True,
    ),
)
