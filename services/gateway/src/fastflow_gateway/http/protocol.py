"""The server's end of one connection: what is not yet a request is refused as a request would be. I/O."""

from __future__ import annotations

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError, LineTooLong

from fastflow_api import shapes
from fastflow_gateway.http.middleware import HEADERS
from fastflow_gateway.http.requests import answer


class Protocol(web.RequestHandler):
    """Answers what no application sees: input that the parser cannot read. It quotes nothing of that."""

    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        super().handle_error(request, status, exc, message)  # logs, and raises if an answer has begun
        response = answer(shapes.Error(detail=_detail(status, exc)), status=status, headers=HEADERS)
        response.force_close()
        return response


def _detail(status: int, error: BaseException | None) -> str:
    if status >= 500:
        return "something went wrong here; the gateway's log says what."
    match error:
        case LineTooLong():
            return "the address or a header is too long; put what is long into the body."
        case ContentEncodingError():
            return "this Content-Encoding cannot be unpacked here; send the body with gzip, or as it is."
        case _:
            return "this is not HTTP as it should be; see the request's first line, its headers and its length."
