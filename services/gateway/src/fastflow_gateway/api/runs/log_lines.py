"""The stored log of a run as JSON lines: GET /api/runs/{id}/logs/lines."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final

import msgspec
from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.decoding import decoded
from fastflow_contracts.runs import logs
from fastflow_contracts.runs.logs import LogReader
from fastflow_gateway.http.long_answer import LongAnswer
from fastflow_gateway.http.route import Media, Route
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.streaming.stored import STORED_READS

LINES_AT_ONCE: Final = 1_000
"""Lines that are encoded before the client has to take them."""
LINE_CHARACTERS_MAX: Final = 1_000_000
"""Longest line; the rest of it is left out, and the line says so."""


async def read_log_lines(request: web.Request) -> web.StreamResponse:
    """Stream the log while reading it, so that a long log is never in memory as a whole."""
    known = await queries.run_with_id(request.app[MODEL], request.match_info["id"])
    readers: dict[int, LogReader] = {}
    answer = LongAnswer(request, "application/x-ndjson")

    async def send(attempt: int, lines: Sequence[logs.OutputLine]) -> None:
        for start in range(0, len(lines), LINES_AT_ONCE):
            part = lines[start : start + LINES_AT_ONCE]
            await answer.send(b"".join(_encoded(attempt, line) for line in part))

    with contextlib.suppress(ConnectionError):
        reads = request.app[STORED_READS]
        async with aclosing(reads.messages(streams.LOGS, subjects.logs_of(known.run.ref))) as chunks:
            async for message in chunks:
                attempt = subjects.attempt_of_log(message.subject)
                reader = readers.setdefault(attempt, LogReader(line_characters_max=LINE_CHARACTERS_MAX))
                if (chunk := decoded(logs.CHUNK, message.data, where=message.subject)) is not None:
                    await send(attempt, reader.feed(chunk))
        for attempt, reader in readers.items():
            await send(attempt, reader.close())
        await answer.end()
    return answer.response


def _encoded(attempt: int, line: logs.OutputLine) -> bytes:
    at = datetime.fromtimestamp(line.at, UTC)
    return msgspec.json.encode(shapes.LogLine(ts=at, stream=line.stream, attempt=attempt, line=line.text)) + b"\n"


ROUTES = (
    Route(
        "GET",
        "/api/runs/{id}/logs/lines",
        read_log_lines,
        "The log of all attempts so far: one LogLine per line, as JSON. It does not wait for new lines. "
        f"Of a line, {LINE_CHARACTERS_MAX:,} characters come; `/api/runs/{{id}}/logs` has the rest.",
        {200: Media("application/x-ndjson", "JSON lines."), 404: shapes.Error},
        is_stream=True,
    ),
)
