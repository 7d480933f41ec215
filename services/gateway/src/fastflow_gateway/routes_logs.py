"""What a run said and used: its log and its samples, whole or live."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from typing import Annotated

import msgspec
from aiohttp import web

from fastflow_contracts import logs, messages, streams, subjects
from fastflow_contracts.pull import Message
from fastflow_contracts.run import Run
from fastflow_contracts.subjects import RunRef
from fastflow_gateway import events, keys, shapes, views
from fastflow_gateway.api import Media, Route, answer, known_run, query
from fastflow_gateway.events import Place
from fastflow_gateway.follow import Channel, Render, stored
from fastflow_gateway.sse import HEARTBEAT_S, EventStream, event_stream, write

TAIL_LINES_MAX = 10_000
SAMPLES_MAX = 5_000
"""The newest ones are listed."""
LAST_WORDS_S = 5.0
"""How long a stream waits for what a run said last if the bus does not have it (any more)."""


class TailQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much."""

    tail: Annotated[int, msgspec.Meta(ge=0, le=TAIL_LINES_MAX, description="Only the last so many lines; 0 = all.")] = 0


async def read_log(request: web.Request) -> web.StreamResponse:
    """Passed on as it is read: a long log is never held whole."""
    wanted, known = query(request, TailQuery), await known_run(request)
    text = events.PlainText()
    tail = events.Tail(wanted.tail) if wanted.tail else None
    response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})

    async def send(part: str) -> None:
        # Not before there is something to send: until then an error can still be an answer.
        if not response.prepared:
            await response.prepare(request)
        await write(request, response, part.encode("utf-8", "replace"))

    with contextlib.suppress(ConnectionError):
        async with aclosing(stored(request.app[keys.BUS], streams.LOGS, subjects.logs_of(known.run.ref))) as chunks:
            async for message in chunks:
                part = text.text(logs.CHUNK.decode(message.data), subjects.attempt_of_log(message.subject))
                if tail is None:
                    await send(part)
                else:
                    tail.add(part)
        await send(tail.text() if tail else "")
        await response.write_eof()
    return response


async def follow_log(request: web.Request) -> web.StreamResponse:
    return await follow_run(request, streams.LOGS, subjects.logs_of, _log_events, log_end)


async def list_samples(request: web.Request) -> web.Response:
    known = await known_run(request)
    samples: deque[shapes.Sample] = deque(maxlen=SAMPLES_MAX)
    async with aclosing(stored(request.app[keys.BUS], streams.METRICS, subjects.metrics_of(known.run.ref))) as found:
        async for message in found:
            attempt = subjects.attempt_of_log(message.subject)
            samples.append(views.sample(messages.SAMPLE.decode(message.data), attempt))
    return answer(shapes.SampleList(samples=tuple(samples)))


async def follow_samples(request: web.Request) -> web.StreamResponse:
    return await follow_run(request, streams.METRICS, subjects.metrics_of, _sample_events, log_end)


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
    model, follower, wake = request.app[keys.MODEL], request.app[keys.FOLLOWER], asyncio.Event()
    place = events.parse_place(request.headers.get("Last-Event-ID"))
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
    channel: Channel,
    out: EventStream,
    wake: asyncio.Event,
    place: Place,
    end_of: Callable[[Run], int],
) -> None:
    """Send what is there, wait for more, until the run is over and all it said is sent, or this process stops."""
    model, follower = request.app[keys.MODEL], request.app[keys.FOLLOWER]
    sent, waited = max(0, place.sequence - 1), False
    while not follower.is_stopping:
        wake.clear()
        known = model.history.get(run.id)
        run = known.run if known else run
        async with aclosing(channel.items(sent)) as items:
            async for item in items:
                first = place.line + 1 if item.sequence == place.sequence else 0
                await out.send(events.behind(item.events, first))
                sent = item.sequence
        has_all = sent >= end_of(run) or channel.is_settled or waited
        if run.is_over and channel.is_caught_up and has_all:
            await out.send(events.event("end", {"status": run.status}))
            return
        waited = not await out.wait(wake, LAST_WORDS_S if run.is_over else HEARTBEAT_S) and run.is_over


def _log_events(message: Message) -> bytes:
    attempt = subjects.attempt_of_log(message.subject)
    return events.log_events(logs.CHUNK.decode(message.data), message.sequence, attempt)


def _sample_events(message: Message) -> bytes:
    attempt = subjects.attempt_of_log(message.subject)
    return events.sample_events(messages.SAMPLE.decode(message.data), message.sequence, attempt)


EVENTS = "Server-sent events. The id of each is where Last-Event-ID goes on; `end` with the status is the last."
LAST_EVENT_ID = {"Last-Event-ID": "The id of the last event that arrived: go on after it."}
ROUTES = (
    Route(
        "GET",
        "/api/runs/{id}/logs",
        read_log,
        "The log of all attempts so far.",
        {200: Media("text/plain", "The lines."), 404: shapes.Error},
        query=TailQuery,
        is_stream=True,
    ),
    Route(
        "GET",
        "/api/runs/{id}/logs/stream",
        follow_log,
        "Follow the log: every line once, in order, as LogLine in events named `log`.",
        {200: Media("text/event-stream", EVENTS), 404: shapes.Error},
        headers=LAST_EVENT_ID,
        is_stream=True,
    ),
    Route(
        "GET",
        "/api/runs/{id}/metrics",
        list_samples,
        f"The newest {SAMPLES_MAX:,} samples of what it used.",
        {200: shapes.SampleList, 404: shapes.Error},
    ),
    Route(
        "GET",
        "/api/runs/{id}/metrics/stream",
        follow_samples,
        "Follow its use: each sample as Sample in events named `sample`.",
        {200: Media("text/event-stream", EVENTS), 404: shapes.Error},
        headers=LAST_EVENT_ID,
        is_stream=True,
    ),
)
