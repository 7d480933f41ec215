"""What the cells of a notebook did, whole or live; the executed notebook; and what cells show as HTML, locked away."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Final

import msgspec
from aiohttp import web

from fastflow_api import shapes
from fastflow_api.formatting import file_name, short
from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.pull import Message
from fastflow_contracts.runs import cells
from fastflow_contracts.runs.cells import Part, Showed
from fastflow_contracts.runs.run import Ended, Run
from fastflow_gateway import app_keys
from fastflow_gateway.api.logs import EVENTS, LAST_EVENT_ID
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import answer, known_run
from fastflow_gateway.http.route import Media, Route
from fastflow_gateway.notebooks.cells import CellHistory, CellList
from fastflow_gateway.notebooks.executed import executed
from fastflow_gateway.notebooks.sources import NOTEBOOKS, NoNotebook
from fastflow_gateway.streaming import events
from fastflow_gateway.streaming.channels import stored
from fastflow_gateway.streaming.follow import follow_run

HTML: Final = "text/html"
FRAME_POLICY: Final = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""Of output that is HTML: an origin of its own that may draw, and reach nothing and nobody."""
_HEAD: Final = (
    '<!doctype html><meta charset="utf-8"><title>Output</title><style>'
    "html{background:#fff;color:#191b1f;color-scheme:light}"
    "body{margin:0;padding:2px;font:13px/1.45 system-ui,sans-serif}"
    "table{border-collapse:collapse;font-size:12.5px;border:0}"
    "th,td{padding:3px 9px;text-align:right;border:0;border-bottom:1px solid #eee}"
    "thead th{border-bottom-color:#bbb}</style>\n"
)
_TAIL: Final = (
    "\n<script>new ResizeObserver(()=>parent.postMessage({height:document.documentElement.offsetHeight},'*'))"
    ".observe(document.documentElement)</script>\n"
)


async def list_cells(request: web.Request) -> web.Response:
    run = await _notebook_run(request)
    book = await _book(request, run)
    return answer(book.cells(await _sources(request, run)))


async def follow_cells(request: web.Request) -> web.StreamResponse:
    await _notebook_run(request)
    return await follow_run(request, streams.CELLS, subjects.cells_of, _cell_events, cell_end)


async def download_notebook(request: web.Request) -> web.Response:
    run = await _notebook_run(request)
    book = await _book(request, run)
    try:
        text = await request.app[NOTEBOOKS].text(run)
        made = await asyncio.to_thread(executed, text, book, run_id=run.id)
    except (NoNotebook, ValueError) as error:
        raise RequestRefused(404, str(error)) from error
    name = f"{file_name(run.pipeline)}-{short(run.id)}.ipynb"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return web.Response(body=made, content_type="application/x-ipynb+json", headers=headers)


async def show_frame(request: web.Request) -> web.Response:
    """The HTML that one event shows, for a frame. The path holds the id of the event, or of its first part."""
    run = await _notebook_run(request)
    place = events.EventId(int(request.match_info["sequence"]), int(request.match_info["line"]))
    html = await _html(request, run, place)
    if html is None:
        raise RequestRefused(404, "there is no such output (any more).")
    return web.Response(
        text=f"{_HEAD}{html}{_TAIL}",
        content_type=HTML,
        headers={"Content-Security-Policy": FRAME_POLICY, "Cache-Control": "private, max-age=86400, immutable"},
    )


def setup(app: web.Application) -> None:
    """Add what is no part of the API."""
    app.router.add_get(r"/runs/{id}/output/{sequence:\d{1,18}}/{line:\d{1,9}}", show_frame)


def cell_end(run: Run) -> int:
    """The sequence of the last message about cells of the attempts that are over, as far as they say."""
    return max((attempt.cell_sequence for attempt in run.attempts), default=0)


async def _notebook_run(request: web.Request) -> Run:
    run = (await known_run(request)).run
    if run.order.kind != "notebook":
        raise RequestRefused(404, f"run {run.id} is a script's: it has no cells.")
    return run


async def _sources(request: web.Request, run: Run) -> list[str]:
    try:
        return await request.app[NOTEBOOKS].sources(run)
    except NoNotebook as error:
        raise RequestRefused(404, str(error)) from error


async def _book(request: web.Request, run: Run) -> CellHistory:
    book = CellHistory()
    async with aclosing(stored(request.app[app_keys.BUS], streams.CELLS, subjects.cells_of(run.ref))) as messages:
        async for message in messages:
            book.feed(cells.CHUNK.decode(message.data), subjects.attempt_of_log(message.subject))
    if isinstance(run.state, Ended):
        book.close(run.state.at.timestamp())
    return book


async def _html(request: web.Request, run: Run, place: events.EventId) -> str | None:
    """What the event at *place* shows, with the parts from there on that belong to it."""
    parts: list[str] = []
    messages = stored(
        request.app[app_keys.BUS], streams.CELLS, subjects.cells_of(run.ref), after=max(0, place.sequence - 1)
    )
    async with aclosing(messages) as found:
        async for message in found:
            chunk = cells.CHUNK.decode(message.data)
            for event in chunk.events[place.line if message.sequence == place.sequence else 0 :]:
                match event:
                    case Part():
                        parts += [event.text] if event.mime == HTML else []
                    case Showed() | cells.Redrew():
                        return "".join(parts) or event.data.get(HTML)
                    case _:
                        return None
    return None


def _cell_events(message: Message) -> bytes:
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
        "The code cells of a notebook's run: each with its attempts, their text, outputs and errors.",
        {200: CellList, 404: shapes.Error},
    ),
    Route(
        "GET",
        "/api/runs/{id}/cells/stream",
        follow_cells,
        "Follow the cells: everything they do as it happens, in events named `cell`.",
        {200: Media("text/event-stream", EVENTS), 404: shapes.Error},
        headers=LAST_EVENT_ID,
        is_stream=True,
    ),
    Route(
        "GET",
        "/api/runs/{id}/notebook",
        download_notebook,
        "The executed notebook, as far as it has run.",
        {200: Media("application/x-ipynb+json", "A Jupyter notebook."), 404: shapes.Error},
    ),
)
