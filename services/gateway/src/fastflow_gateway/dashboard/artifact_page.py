"""The page of one artifact, and its content for a picture or a frame. I/O."""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

from aiohttp import web

from fastflow_contracts.bus.errors import Rejected
from fastflow_contracts.runs.artifacts.manifest import StoredArtifact
from fastflow_contracts.runs.run import RunRecord
from fastflow_gateway.dashboard.rendering import RENDERER
from fastflow_gateway.dashboard.view import artifacts as view
from fastflow_gateway.errors import RequestRefused, no_content
from fastflow_gateway.http.middleware import POLICY
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.model import MODEL

FRAME_POLICY: Final = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)
"""For HTML and SVG: a separate origin without scripts, forms and requests."""


async def artifact_page(request: web.Request) -> web.Response:
    """Show the beginning of a file."""
    run, found = await _artifact(request)
    shown = view.Preview(kind=view.kind_of(found))
    if shown.kind in ("json", "table", "text"):
        shown = view.preview(found, await _head(request, found, view.HEAD_BYTES))
    page = request.app[RENDERER].page(
        request, "artifact.html", here="runs", run=queries.run(request.app[MODEL], run), artifact=found, preview=shown
    )
    page.headers["Content-Security-Policy"] = f"{POLICY}; frame-src 'self'"
    return page


async def artifact_content(request: web.Request) -> web.Response:
    """Send a picture, or a page for a frame."""
    _, found = await _artifact(request)
    if view.kind_of(found) not in ("picture", "frame"):
        raise RequestRefused(404, "this file is only a download.")
    data = await _head(request, found, view.WHOLE_BYTES_MAX)
    media_type = view.embedded_type(found, data)
    if media_type is None:
        raise RequestRefused(404, "the content of this file is not what its name says; download it.")
    headers = {
        "Content-Type": media_type,
        "Content-Security-Policy": FRAME_POLICY,
        "Cache-Control": "private, no-cache",
    }
    return web.Response(body=data, headers=headers)


async def _artifact(request: web.Request) -> tuple[RunRecord, StoredArtifact]:
    run = (await queries.run_with_id(request.app[MODEL], request.match_info["id"])).run
    manifest = await request.app[MODEL].artifacts(run)
    path = request.match_info["path"]
    found = next((each for each in manifest.artifacts if each.path == path), None) if manifest else None
    if found is None:
        raise RequestRefused(404, f"run {run.id} left no such file, or it is not stored any more.")
    return run, found


async def _head(request: web.Request, artifact: StoredArtifact, most: int) -> bytes:
    """The first bytes; the rest is not read."""
    head = bytearray()
    try:
        async with aclosing(request.app[MODEL].content(artifact)) as pieces:
            async for piece in pieces:
                head += piece
                if len(head) >= most:
                    break
    except Rejected as error:
        raise no_content(artifact.path, error) from error
    return bytes(head[:most])


ROUTES = (
    Route("GET", "/runs/{id}/artifacts/{path:.+}", artifact_page),
    Route("GET", "/runs/{id}/artifact-content/{path:.+}", artifact_content),
)
