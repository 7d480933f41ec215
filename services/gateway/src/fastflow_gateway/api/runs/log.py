"""The log of a run as text, stored or live."""

from __future__ import annotations

import contextlib
from contextlib import aclosing
from typing import Annotated

import msgspec
from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.decoding import decoded
from fastflow_contracts.bus.direct import StoredMessage
from fastflow_contracts.runs import logs
from fastflow_contracts.runs.run import RunRecord
from fastflow_gateway.http.long_answer import LongAnswer
from fastflow_gateway.http.requests import query
from fastflow_gateway.http.route import Media, Route
from fastflow_gateway.http.sse import EVENT_STREAM, LAST_EVENT_ID, STREAMED
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.queries import run_with_id
from fastflow_gateway.streaming import events
from fastflow_gateway.streaming.follow import follow_run, log_end
from fastflow_gateway.streaming.stored import STORED_READS
from fastflow_gateway.streaming.tail import LOG_TAILS

TAIL_LINES_MAX = 10_000
PLAIN_TEXT = "text/plain; charset=utf-8"


class TailQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of the log to return."""

    tail: Annotated[int, msgspec.Meta(ge=0, le=TAIL_LINES_MAX, description="Only this many last lines; 0 = all.")] = 0


async def read_log(request: web.Request) -> web.StreamResponse:
    """Stream the log while reading it, so that a long log is never in memory as a whole."""
    wanted, run = query(request, TailQuery), await _run(request)
    if wanted.tail:
        text = await request.app[LOG_TAILS].tail(run, wanted.tail)
        return web.Response(body=text.encode("utf-8", "replace"), headers={"Content-Type": PLAIN_TEXT})
    reader, answer = events.PlainText(), LongAnswer(request, PLAIN_TEXT)
    with contextlib.suppress(ConnectionError):
        reads = request.app[STORED_READS]
        async with aclosing(reads.messages(streams.LOGS, subjects.logs_of(run.ref))) as chunks:
            async for message in chunks:
                chunk = decoded(logs.CHUNK, message.data, where=message.subject)
                if chunk is not None:
                    text = reader.text(chunk, subjects.attempt_of_log(message.subject))
                    await answer.send(text.encode("utf-8", "replace"))
        await answer.end()
    return answer.response


async def follow_log(request: web.Request) -> web.StreamResponse:
    """Stream the log lines as they arrive."""
    return await follow_run(request, await _run(request), streams.LOGS, subjects.logs_of, _log_events, log_end)


async def _run(request: web.Request) -> RunRecord:
    return (await run_with_id(request.app[MODEL], request.match_info["id"])).run


def _log_events(message: StoredMessage) -> bytes:
    attempt = subjects.attempt_of_log(message.subject)
    return events.log_events(logs.CHUNK.decode(message.data), message.sequence, attempt)


ROUTES = (
    Route(
        "GET",
        "/api/runs/{id}/logs",
        read_log,
        "The log of all attempts so far. With `tail`, lines of more than 4 MiB together are cut at their beginning; "
        "a first line says so then.",
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
        {200: Media(EVENT_STREAM, STREAMED), 404: shapes.Error},
        headers=LAST_EVENT_ID,
        is_stream=True,
    ),
)
