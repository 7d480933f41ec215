"""The HTML output of a cell, isolated in a frame: /runs/{id}/output/… I/O."""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

from aiohttp import web

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.decoding import decoded
from fastflow_contracts.runs import cells
from fastflow_contracts.runs.cells import Part, Showed
from fastflow_contracts.runs.run import RunRecord
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.queries import notebook_run
from fastflow_gateway.streaming import events
from fastflow_gateway.streaming.stored import STORED_READS

HTML: Final = "text/html"
FRAME_POLICY: Final = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""For HTML output: a separate origin that may run scripts but cannot reach any other page or host."""
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


async def show_frame(request: web.Request) -> web.Response:
    """Serve the HTML of one event for a frame. The path contains the id of the event, or of its first part."""
    run = await notebook_run(request.app[MODEL], request.match_info["id"])
    place = events.EventId(int(request.match_info["sequence"]), int(request.match_info["line"]))
    html = await _html(request, run, place)
    if html is None:
        raise RequestRefused(404, "there is no such output.")
    return web.Response(
        text=f"{_HEAD}{html}{_TAIL}",
        content_type=HTML,
        headers={"Content-Security-Policy": FRAME_POLICY, "Cache-Control": "private, max-age=86400, immutable"},
    )


async def _html(request: web.Request, run: RunRecord, place: events.EventId) -> str | None:
    """The HTML of the event at *place*, joined with the parts that follow it."""
    parts: list[str] = []
    reads = request.app[STORED_READS]
    messages = reads.messages(streams.CELLS, subjects.cells_of(run.ref), after=max(0, place.sequence - 1))
    async with aclosing(messages) as found:
        async for message in found:
            chunk = decoded(cells.CHUNK, message.data, where=message.subject)
            if chunk is None:
                continue
            for event in chunk.events[place.line if message.sequence == place.sequence else 0 :]:
                match event:
                    case Part():
                        parts += [event.text] if event.mime == HTML else []
                    case Showed() | cells.Redrew():
                        return "".join(parts) or event.data.get(HTML)
                    case _:
                        return None
    return None


ROUTES = (Route("GET", r"/runs/{id}/output/{sequence:\d{1,18}}/{line:\d{1,9}}", show_frame),)
