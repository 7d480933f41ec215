"""TODO."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from aiohttp import web

from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.runs.run import Run
from fastflow_gateway.http.requests import known_run
from fastflow_gateway.http.sse import HEARTBEAT_S, EventStream, event, event_stream
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.streaming import events
from fastflow_gateway.streaming.channels import FOLLOWERS, Broadcast, Render
from fastflow_gateway.streaming.events import EventId

LAST_WORDS_S = 5.0
"""How long a stream waits for what a run said last if the bus does not have it (any more)."""


def log_end(run: Run) -> int:
    """The sequence of the last log message of the attempts that are over, as far as they say."""
    return max((attempt.log_sequence for attempt in run.attempts), default=0)


async def follow_run(
    request: web.Request,
    stream: str,
    subject_of: Callable[[RunRef], str],
    render: Render,
    end_of: Callable[[Run], int],
) -> web.StreamResponse:
    """Answer with a stream of everything on one subject of the run that the path names. *end_of*: the sequence of the
    last message there, as far as the record says.
    """
    run = (await known_run(request)).run
    model, follower, wake = request.app[MODEL], request.app[FOLLOWERS], asyncio.Event()
    place = events.parse_event_id(request.headers.get("Last-Event-ID"))
    response = web.StreamResponse()
    with (
        model.watching(run.id, wake),
        follower.follow(stream, subject_of(run.ref), render, wake, is_settled=run.is_over) as channel,
    ):
        async with event_stream(request, response) as out:
            await _relay(request, run, channel, out, wake, place, end_of)
    return response


async def _relay(
    request: web.Request,
    run: Run,
    channel: Broadcast,
    out: EventStream,
    wake: asyncio.Event,
    place: EventId,
    end_of: Callable[[Run], int],
) -> None:
    """Send what is there, wait for more, until the run is over and all it said is sent, or this process stops."""
    model, follower = request.app[MODEL], request.app[FOLLOWERS]
    sent, waited = max(0, place.sequence - 1), False
    while not follower.is_stopping:
        wake.clear()
        known = model.runs.get(run.id)
        run = known.run if known else run
        async with aclosing(channel.items(sent)) as items:
            async for item in items:
                first = place.line + 1 if item.sequence == place.sequence else 0
                await out.send(events.behind(item.events, first))
                sent = item.sequence
        has_all = sent >= end_of(run) or channel.is_settled or waited
        if run.is_over and channel.is_caught_up and has_all:
            await out.send(event("end", {"status": run.status}))
            return
        waited = not await out.wait(wake, LAST_WORDS_S if run.is_over else HEARTBEAT_S) and run.is_over
