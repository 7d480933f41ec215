"""The log and the resource samples of a run, stored or live."""

from __future__ import annotations

import contextlib
from collections import deque
from contextlib import aclosing
from typing import Annotated

import msgspec
from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.decoding import decoded
from fastflow_contracts.bus.pull import Message
from fastflow_contracts.runs import logs, messages
from fastflow_contracts.runs.run import RunRecord
from fastflow_gateway import app_keys
from fastflow_gateway.http.requests import answer, query
from fastflow_gateway.http.route import Media, Route
from fastflow_gateway.http.sse import EVENT_STREAM, event, write
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.queries import run_with_id
from fastflow_gateway.streaming import events
from fastflow_gateway.streaming.follow import follow_run, log_end
from fastflow_gateway.streaming.stored import stored
from fastflow_gateway.views import records

TAIL_LINES_MAX = 10_000
SAMPLES_MAX = 5_000
"""How many samples a list holds; older ones are left out."""


class TailQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of the log to return."""

    tail: Annotated[int, msgspec.Meta(ge=0, le=TAIL_LINES_MAX, description="Only this many last lines; 0 = all.")] = 0


async def read_log(request: web.Request) -> web.StreamResponse:
    """Stream the log while reading it, so that a long log is never in memory as a whole."""
    wanted, run = query(request, TailQuery), await _run(request)
    text = events.PlainText()
    tail = events.Tail(wanted.tail) if wanted.tail else None
    response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})

    async def send(part: str) -> None:
        # Start the answer with the first data: until then an error can still set the status.
        if not response.prepared:
            await response.prepare(request)
        await write(request, response, part.encode("utf-8", "replace"))

    with contextlib.suppress(ConnectionError):
        async with aclosing(stored(request.app[app_keys.BUS], streams.LOGS, subjects.logs_of(run.ref))) as chunks:
            async for message in chunks:
                chunk = decoded(logs.CHUNK, message.data, where=message.subject)
                if chunk is None:
                    continue
                part = text.text(chunk, subjects.attempt_of_log(message.subject))
                if tail is None:
                    await send(part)
                else:
                    tail.add(part)
        await send(tail.text() if tail else "")
        await response.write_eof()
    return response


async def follow_log(request: web.Request) -> web.StreamResponse:
    """Stream the log lines as they arrive."""
    return await follow_run(request, await _run(request), streams.LOGS, subjects.logs_of, _log_events, log_end)


async def list_samples(request: web.Request) -> web.Response:
    """List the newest resource samples."""
    run = await _run(request)
    samples: deque[shapes.Sample] = deque(maxlen=SAMPLES_MAX)
    async with aclosing(stored(request.app[app_keys.BUS], streams.METRICS, subjects.metrics_of(run.ref))) as found:
        async for message in found:
            attempt = subjects.attempt_of_log(message.subject)
            sample = decoded(messages.SAMPLE, message.data, where=message.subject)
            if sample is not None:
                samples.append(records.sample(sample, attempt))
    return answer(shapes.SampleList(samples=tuple(samples)))


async def follow_samples(request: web.Request) -> web.StreamResponse:
    """Stream the resource samples as they arrive."""
    return await follow_run(request, await _run(request), streams.METRICS, subjects.metrics_of, _sample_events, log_end)


async def _run(request: web.Request) -> RunRecord:
    return (await run_with_id(request.app[MODEL], request.match_info["id"])).run


def _log_events(message: Message) -> bytes:
    attempt = subjects.attempt_of_log(message.subject)
    return events.log_events(logs.CHUNK.decode(message.data), message.sequence, attempt)


def _sample_events(message: Message) -> bytes:
    attempt = subjects.attempt_of_log(message.subject)
    sample = records.sample(messages.SAMPLE.decode(message.data), attempt)
    return event("sample", sample, event_id=str(message.sequence))


EVENTS = "Server-sent events. To resume, send the last id as Last-Event-ID. The last event is `end`, with the status."
LAST_EVENT_ID = {"Last-Event-ID": "The id of the last event received: the stream resumes after it."}
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
        "Stream the log: each line once, in order, as LogLine in events named `log`. Before a line is complete, its "
        "text comes as PartialLine in events named `partial`, within a second.",
        {200: Media(EVENT_STREAM, EVENTS), 404: shapes.Error},
        headers=LAST_EVENT_ID,
        is_stream=True,
    ),
    Route(
        "GET",
        "/api/runs/{id}/metrics",
        list_samples,
        f"List the newest {SAMPLES_MAX:,} samples of the resources the run used.",
        {200: shapes.SampleList, 404: shapes.Error},
    ),
    Route(
        "GET",
        "/api/runs/{id}/metrics/stream",
        follow_samples,
        "Stream the resource use: each sample as Sample in events named `sample`.",
        {200: Media(EVENT_STREAM, EVENTS), 404: shapes.Error},
        headers=LAST_EVENT_ID,
        is_stream=True,
    ),
)
