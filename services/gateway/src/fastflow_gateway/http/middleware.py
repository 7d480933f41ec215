"""What every request passes: the log, errors as answers, access, headers for browsers. I/O.

From the outside in: ``record`` sees every answer, ``compress`` (in ``compression``) packs it, ``explain`` turns errors
into answers, ``guard`` checks access.
"""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Final

from aiohttp import HttpVersion11, web

from fastflow_api import shapes
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.log import get_logger
from fastflow_gateway.errors import Busy, RequestRefused
from fastflow_gateway.http.access import check_access
from fastflow_gateway.http.browsers import is_over_tls, wants_page
from fastflow_gateway.http.request_metrics import REQUEST_METRICS, WAITED_S
from fastflow_gateway.http.requests import LEFT, answer
from fastflow_gateway.http.route import Handler
from fastflow_gateway.http.sse import EVENT_STREAM

log = get_logger(__name__)

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""What pages may load and do. A page that shows frames sets its own policy."""
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "fastflow",
}
HSTS: Final = "max-age=31536000"
"""Over TLS: browsers use nothing else for this host, for a year."""
PUBLIC: web.AppKey[frozenset[str]] = web.AppKey("PUBLIC", frozenset)
"""Declared paths that need neither token nor session."""
ERROR_PAGE: web.AppKey[Callable[[web.Request, int, str], web.Response]] = web.AppKey("ERROR_PAGE")
"""(request, status, detail) -> an error for a browser; requests for the API get JSON."""

_QUIET = re.compile(r"/(healthz?|readyz?|api/health|metrics|static/.*)")
_WEBHOOK = re.compile(r"(/+api/+webhooks/+[^/]*).+", re.DOTALL)
_REST = re.compile(r"(/+[^/]*)/.*", re.DOTALL)


@web.middleware
async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Log and count the answer.

    Keys and queries stay out of the log: both may be secrets. A path without a route may be a mistyped webhook, so
    only its beginning is logged.
    """
    start_s = asyncio.get_running_loop().time()
    try:
        response = await handler(request)
    except web.HTTPException as redirect:  # an answer like any other
        _note(request, redirect, start_s)
        raise
    _note(request, response, start_s)
    return response


@web.middleware
async def explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into an answer with a ``detail``; a browser that asks for a page gets a page."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
        return _error(request, error.status, _detail(request, error), headers)
    except RequestRefused as refused:
        return _error(request, refused.status, str(refused), refused.headers)
    except Busy as error:
        return _error(request, 503, str(error), {"Retry-After": "5"})
    except BusError as error:
        if request.writer.output_size:
            raise
        log.warning("bus request failed", method=request.method, path=shown_path(request.path), error=str(error))
        detail = (
            f"the bus is unavailable: {str(error).rstrip('.')}. A write may or may not have taken effect; try again."
        )
        return _error(request, 503, detail, {"Retry-After": "5"})
    except ConnectionResetError:
        if request.transport is not None and not request.transport.is_closing():
            raise
        return web.Response(status=LEFT)
    except Exception:
        if request.writer.output_size:
            raise  # the answer has begun: only closing the connection tells the client
        error_id = uuid.uuid4().hex[:12]
        log.exception("request failed", error_id=error_id, method=request.method, path=shown_path(request.path))
        return _error(request, 500, f"the gateway failed; its log has the details as error {error_id}.", {})


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let in public routes, the token, and browsers with a session. Their writes must come from our own pages."""
    if await _is_public(request):
        return await handler(request)
    await check_access(request)
    return await handler(request)


async def expect(request: web.Request) -> web.Response | None:
    """Handle ``Expect`` before anything else: ask for the body, or refuse any other expectation."""
    if request.version < HttpVersion11:
        return None
    if request.headers["Expect"].lower() != "100-continue":
        return _error(request, 417, "Expect may only be 100-continue; send the request without it.", {})
    if request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return None


async def dress(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler: add the headers of every answer. Headers from the handler stay."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if is_over_tls(request):
        response.headers["Strict-Transport-Security"] = HSTS
    response.headers["Server"] = HEADERS["Server"]


def shown_path(path: str, *, is_unknown: bool = False) -> str:
    """*path* on one line, without a webhook's key.

    *is_unknown*: no route matches it, so any part may be a key.
    """
    shown = _WEBHOOK.sub(r"\1/***", path)
    if is_unknown and shown == path:
        shown = _REST.sub(r"\1/***", path)
    return shown.encode("unicode_escape").decode()


def _note(request: web.Request, response: web.StreamResponse | web.HTTPException, start_s: float) -> None:
    status, took_s = response.status, asyncio.get_running_loop().time() - start_s
    is_stream = response.content_type == EVENT_STREAM
    worked_s = took_s - request.get(WAITED_S, 0.0)
    request.app[REQUEST_METRICS].record(request.method, _route(request), status, None if is_stream else worked_s)
    level = logging.DEBUG if status == LEFT or _QUIET.fullmatch(request.path) else logging.INFO
    is_unknown = request.match_info.http_exception is not None
    path = shown_path(request.path, is_unknown=is_unknown)
    log.log(level, "request", method=request.method, path=path, status=status, took_ms=round(took_s * 1000))


def _route(request: web.Request) -> str | None:
    """The path as declared."""
    resource = request.match_info.route.resource
    return None if resource is None else resource.canonical


async def _is_public(request: web.Request) -> bool:
    public = request.app[PUBLIC]
    if not isinstance(request.match_info.http_exception, web.HTTPMethodNotAllowed):
        return _route(request) in public
    # A wrong method has no route. For a public path the answer is 405, not a question for a token.
    for resource in request.app.router.resources():
        if resource.canonical in public and (await resource.resolve(request))[1]:
            return True
    return False


def _error(request: web.Request, status: int, detail: str, headers: Mapping[str, str]) -> web.Response:
    # A detail may quote a header, whose bytes need not be UTF-8.
    detail = detail.encode("utf-8", "backslashreplace").decode()
    if wants_page(request) and ERROR_PAGE in request.app:
        page = request.app[ERROR_PAGE](request, status, detail)
        page.headers.update(headers)
        return page
    return answer(shapes.Error(detail=detail), status=status, headers=headers)


def _detail(request: web.Request, error: web.HTTPException) -> str:
    match error.status:
        case 404:
            return "there is nothing at this address; GET /api/openapi.json lists all routes."
        case 405:
            return f"{request.method} is not allowed here; use {error.headers.get('Allow', 'another method')}."
        case 413:
            return f"the body is too large: {error.text}"
        case _:
            return error.text or error.reason
