"""The server's end of one connection: refuses input that is not a request, in the API's form. I/O."""

from __future__ import annotations

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError, LineTooLong

from fastflow_api import shapes
from fastflow_gateway.http.middleware import HEADERS
from fastflow_gateway.http.requests import answer


class Protocol(web.RequestHandler):
    """Answers input that the parser cannot read, which the application never sees. It quotes none of it."""

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
        return "the gateway failed; its log has the details."
    match error:
        case LineTooLong():
            return "the address or a header is too long; move long values into the body."
        case ContentEncodingError():
            return "this Content-Encoding is not supported; send the body with gzip, or without an encoding."
        case _:
            return "this is not valid HTTP; check the request's first line, its headers and its length."
