"""The resource samples of a run, stored or live."""

from __future__ import annotations

from collections import deque
from contextlib import aclosing

from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.decoding import decoded
from fastflow_contracts.bus.direct import StoredMessage
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.run import RunRecord
from fastflow_gateway.http.requests import answer
from fastflow_gateway.http.route import Media, Route
from fastflow_gateway.http.sse import EVENT_STREAM, LAST_EVENT_ID, STREAMED, event
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.queries import run_with_id
from fastflow_gateway.streaming.follow import follow_run, log_end
from fastflow_gateway.streaming.stored import STORED_READS
from fastflow_gateway.views import run_shapes

SAMPLES_MAX = 5_000
"""How many samples a list holds; older ones are left out."""


async def list_samples(request: web.Request) -> web.Response:
    """List the newest resource samples."""
    run = await _run(request)
    samples: deque[shapes.Sample] = deque(maxlen=SAMPLES_MAX)
    async with aclosing(request.app[STORED_READS].messages(streams.METRICS, subjects.metrics_of(run.ref))) as found:
        async for message in found:
            attempt = subjects.attempt_of_log(message.subject)
            sample = decoded(messages.SAMPLE, message.data, where=message.subject)
            if sample is not None:
                samples.append(run_shapes.sample(sample, attempt))
    return answer(shapes.SampleList(samples=tuple(samples)))


async def follow_samples(request: web.Request) -> web.StreamResponse:
    """Stream the resource samples as they arrive."""
    return await follow_run(request, await _run(request), streams.METRICS, subjects.metrics_of, _sample_events, log_end)


async def _run(request: web.Request) -> RunRecord:
    return (await run_with_id(request.app[MODEL], request.match_info["id"])).run


def _sample_events(message: StoredMessage) -> bytes:
    attempt = subjects.attempt_of_log(message.subject)
    sample = run_shapes.sample(messages.SAMPLE.decode(message.data), attempt)
    return event("sample", sample, event_id=str(message.sequence))


ROUTES = (
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
        {200: Media(EVENT_STREAM, STREAMED), 404: shapes.Error},
        headers=LAST_EVENT_ID,
        is_stream=True,
    ),
)
