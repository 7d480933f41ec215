"""The cells of a notebook run, stored or live, and the executed notebook."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import msgspec
from aiohttp import web

from fastflow_api import shapes
from fastflow_api.formatting import file_name, short
from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.decoding import ignoring_unreadable
from fastflow_contracts.bus.direct import StoredMessage
from fastflow_contracts.runs import cells
from fastflow_contracts.runs.run import Ended, RunRecord
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import answer
from fastflow_gateway.http.route import Media, Route
from fastflow_gateway.http.sse import EVENT_STREAM, LAST_EVENT_ID, STREAMED
from fastflow_gateway.notebooks.cells import CellHistory, CellList
from fastflow_gateway.notebooks.executed import executed
from fastflow_gateway.notebooks.sources import NOTEBOOKS, NoNotebook
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.queries import notebook_run
from fastflow_gateway.streaming.follow import follow_run
from fastflow_gateway.streaming.stored import STORED_READS


async def list_cells(request: web.Request) -> web.Response:
    """List the code cells with their attempts and outputs."""
    run = await _run(request)
    history = await _history(request, run)
    return answer(history.cells(await _sources(request, run)))


async def follow_cells(request: web.Request) -> web.StreamResponse:
    """Stream the cell events as they happen."""
    return await follow_run(request, await _run(request), streams.CELLS, subjects.cells_of, _cell_events, cell_end)


async def download_notebook(request: web.Request) -> web.Response:
    """Build the executed notebook and send it as a download."""
    run = await _run(request)
    history = await _history(request, run)
    try:
        text = await request.app[NOTEBOOKS].text(run)
        made = await asyncio.to_thread(executed, text, history, run_id=run.id)
    except (NoNotebook, ValueError, RecursionError) as error:
        raise RequestRefused(404, str(error)) from error
    name = f"{file_name(run.pipeline)}-{short(run.id)}.ipynb"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return web.Response(body=made, content_type="application/x-ipynb+json", headers=headers)


def cell_end(run: RunRecord) -> int:
    """Return the stream sequence of the last cell message of all ended attempts, as recorded in *run*."""
    return max((attempt.cell_sequence for attempt in run.attempts), default=0)


async def _run(request: web.Request) -> RunRecord:
    return await notebook_run(request.app[MODEL], request.match_info["id"])


async def _sources(request: web.Request, run: RunRecord) -> list[str]:
    try:
        return await request.app[NOTEBOOKS].sources(run)
    except NoNotebook as error:
        raise RequestRefused(404, str(error)) from error


async def _history(request: web.Request, run: RunRecord) -> CellHistory:
    history = CellHistory()
    async with aclosing(request.app[STORED_READS].messages(streams.CELLS, subjects.cells_of(run.ref))) as messages:
        async for message in messages:
            with ignoring_unreadable(cells.CHUNK.name, message.subject):
                history.feed(cells.CHUNK.decode(message.data), subjects.attempt_of_log(message.subject))
    if isinstance(run.state, Ended):
        history.close(run.state.at.timestamp())
    return history


def _cell_events(message: StoredMessage) -> bytes:
    chunk = cells.CHUNK.decode(message.data)
    return b"".join(
        b"id: %d:%d\nevent: cell\ndata: %s\n\n" % (message.sequence, index, msgspec.json.encode(event))
        for index, event in enumerate(chunk.events)
    )


ROUTES = (
    Route(
        "GET",
        "/api/runs/{id}/cells",
        list_cells,
        "List the code cells of a notebook run, each with its attempts, their text, outputs and errors.",
        {200: CellList, 404: shapes.Error},
    ),
    Route(
        "GET",
        "/api/runs/{id}/cells/stream",
        follow_cells,
        "Stream what the cells do as it happens, in events named `cell`.",
        {200: Media(EVENT_STREAM, STREAMED), 404: shapes.Error},
        headers=LAST_EVENT_ID,
        is_stream=True,
    ),
    Route(
        "GET",
        "/api/runs/{id}/notebook",
        download_notebook,
        "Download the executed notebook, with the outputs so far.",
        {200: Media("application/x-ipynb+json", "A Jupyter notebook."), 404: shapes.Error},
    ),
)
