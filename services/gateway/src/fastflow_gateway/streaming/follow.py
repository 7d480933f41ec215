"""Answers with a stream of everything published about one run, until it is over. I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from aiohttp import web

from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.runs.run import RunRecord
from fastflow_gateway.http.sse import HEARTBEAT_S, EventStream, event, event_stream
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.streaming import events
from fastflow_gateway.streaming.broadcast import Broadcast, Render
from fastflow_gateway.streaming.events import EventId
from fastflow_gateway.streaming.followers import FOLLOWERS

LAST_WORDS_S = 5.0
"""How long a stream waits for the last message of a run, which the bus may no longer have."""


def log_end(run: RunRecord) -> int:
    """The sequence of the last log message of the ended attempts, by the run's record."""
    return max((attempt.log_sequence for attempt in run.attempts), default=0)


async def follow_run(
    request: web.Request,
    run: RunRecord,
    stream: str,
    subject_of: Callable[[RunRef], str],
    render: Render,
    end_of: Callable[[RunRecord], int],
) -> web.StreamResponse:
    """Answer with a stream of events, after ``Last-Event-ID``.

    Args:
        request: The request to answer.
        run: The run to follow.
        stream: The stream of the bus that holds the messages.
        subject_of: Returns the subject of a run's messages.
        render: Renders a message as events.
        end_of: Returns the sequence of the last message, by the run's record.

    Returns:
        The answer, already sent.

    Raises:
        Busy: Too many streams are open.
    """
    model, followers, wake = request.app[MODEL], request.app[FOLLOWERS], asyncio.Event()
    last = events.parse_event_id(request.headers.get("Last-Event-ID"))
    response = web.StreamResponse()
    with (
        model.watching(run.id, wake),
        followers.follow(stream, subject_of(run.ref), render, wake, is_settled=run.is_over) as broadcast,
    ):
        async with event_stream(request, response, packs=True) as out:
            await _relay(request, run, broadcast, out, wake, last, end_of)
    return response


async def _relay(
    request: web.Request,
    run: RunRecord,
    broadcast: Broadcast,
    out: EventStream,
    wake: asyncio.Event,
    last: EventId,
    end_of: Callable[[RunRecord], int],
) -> None:
    """Send what has arrived and wait for more, until the run is over and all is sent, or this process stops."""
    model, followers = request.app[MODEL], request.app[FOLLOWERS]
    sent, waited = max(0, last.sequence - 1), False
    while not followers.is_stopping:
        wake.clear()
        known = model.runs.get(run.id)
        run = known.run if known else run
        async with aclosing(broadcast.items(sent)) as items:
            async for item in items:
                first = last.line + 1 if item.sequence == last.sequence else 0
                await out.send(events.behind(item.events, first))
                sent = item.sequence
        has_all = sent >= end_of(run) or broadcast.is_settled or waited
        if run.is_over and broadcast.is_caught_up and has_all:
            await out.send(event("end", {"status": run.status}))
            return
        waited = not await out.wait(wake, LAST_WORDS_S if run.is_over else HEARTBEAT_S) and run.is_over
