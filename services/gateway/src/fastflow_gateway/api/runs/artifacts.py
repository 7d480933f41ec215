"""The artifacts of a run: their list, and each file."""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import Final
from urllib.parse import quote

from aiohttp import web

from fastflow_api import shapes
from fastflow_api.formatting import file_name
from fastflow_contracts.bus.errors import BusError, Rejected
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs.artifacts.manifest import ArtifactManifest, StoredArtifact
from fastflow_contracts.runs.run import RunRecord
from fastflow_gateway.errors import RequestRefused, no_content
from fastflow_gateway.http.requests import answer
from fastflow_gateway.http.route import Media, Route
from fastflow_gateway.http.sse import write
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.queries import run_with_id

log = get_logger(__name__)

FILE_POLICY: Final = "sandbox; default-src 'none'; frame-ancestors 'none'"
"""Whatever the file holds, a browser that opens it gives it no rights."""
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9]+/[a-z0-9.+-]+")


async def list_artifacts(request: web.Request) -> web.Response:
    """List the files."""
    found = await _manifest(request, await _run(request))
    return answer(
        shapes.Artifacts(
            artifacts=tuple(
                shapes.Artifact(
                    path=each.path, size_bytes=each.size_bytes, sha256=each.sha256, media_type=each.media_type
                )
                for each in found.artifacts
            ),
            problems=found.problems,
        )
    )


async def read_artifact(request: web.Request) -> web.StreamResponse:
    """Send one file piece by piece, at the client's pace."""
    run, path = await _run(request), request.match_info["path"]
    found = next((each for each in (await _manifest(request, run)).artifacts if each.path == path), None)
    if found is None:
        raise RequestRefused(404, f"run {run.id} left no such file; GET /api/runs/{run.id}/artifacts lists them.")
    headers = _headers(found)
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    response = web.StreamResponse(headers=headers)
    response.content_length = found.size_bytes
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    try:
        async with aclosing(request.app[MODEL].content(found)) as pieces:
            async for piece in pieces:  # an error before the first one still sets the status
                if not response.prepared:
                    await response.prepare(request)
                await write(request, response, piece)
        if not response.prepared:
            await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        pass
    except BusError as error:
        if not response.prepared:
            if isinstance(error, Rejected):
                raise no_content(found.path, error) from error
            raise
        log.warning("artifact not sent", run=run.id, error=str(error))
        if request.transport is not None:
            request.transport.abort()  # the client must not take the part for the whole
    return response


async def _run(request: web.Request) -> RunRecord:
    return (await run_with_id(request.app[MODEL], request.match_info["id"])).run


async def _manifest(request: web.Request, run: RunRecord) -> ArtifactManifest:
    if not run.is_over:
        raise RequestRefused(404, f"run {run.id} is not over; its artifacts come with its end.")
    if run.artifacts_count is None:
        return ArtifactManifest()
    found = await request.app[MODEL].artifacts(run)
    if found is None:
        raise RequestRefused(404, f"the artifacts of run {run.id} are not stored any more, or cannot be read.")
    return found


def _headers(artifact: StoredArtifact) -> dict[str, str]:
    name = artifact.path.rsplit("/", 1)[-1]
    is_plain = _MEDIA_TYPE.fullmatch(artifact.media_type) is not None
    return {
        "Content-Type": artifact.media_type if is_plain else "application/octet-stream",
        "Content-Disposition": f"attachment; filename=\"{file_name(name)}\"; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": FILE_POLICY,
        "Cache-Control": "private, no-cache",
        "ETag": f'"{artifact.sha256}"',
    }


ROUTES = (
    Route(
        "GET",
        "/api/runs/{id}/artifacts",
        list_artifacts,
        "The files that the script left in the folder `FASTFLOW_ARTIFACTS_DIR`. 404: the run is not over.",
        {200: shapes.Artifacts, 404: shapes.Error},
    ),
    Route(
        "GET",
        "/api/runs/{id}/artifacts/{path:.+}",
        read_artifact,
        "One of these files, as a download. Its ETag is the SHA-256 of its content.",
        {200: Media("application/octet-stream", "The file."), 404: shapes.Error},
        headers={"If-None-Match": "The ETag of a copy: 304 if it is the same."},
    ),
)
