"""What handlers share: read a request, and answer it. Nothing here knows about routes or pipelines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.security.client_address import CLIENT_ADDRESSES
from fastflow_gateway.settings import SETTINGS

Q = TypeVar("Q", bound=msgspec.Struct)
T = TypeVar("T")

IDEMPOTENCY_KEY_CHARACTERS_MAX: Final = 255
LEFT: Final = 499
"""The status of a client that leaves before its request is complete, as other servers count it. No client reads it."""


def answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer with *value*, a shape, as JSON."""
    return web.Response(
        body=msgspec.json.encode(value), status=status, headers=headers, content_type="application/json"
    )


def query(request: web.Request, wanted: type[Q]) -> Q:
    """Parse the query parameters. Raises ``RequestRefused`` for an invalid one."""
    return parameters(request.query.items(), wanted)


def parameters(given: Iterable[tuple[str, str]], wanted: type[Q]) -> Q:
    """Parse the parameters of a query or a form. Raises ``RequestRefused`` for an invalid one.

    Args:
        given: Names and values. An empty value counts as absent; repeated ones count as a list with commas.
        wanted: The parameters that may be given.
    """
    values: dict[str, str] = {}
    for name, value in given:
        if value:
            values[name] = f"{values[name]},{value}" if name in values else value
    try:
        return msgspec.convert(values, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise RequestRefused(422, f"the query is invalid: {error}{_accepted(wanted, str(error))}") from error


def _accepted(wanted: type[msgspec.Struct], error: str) -> str:
    """The choices of the parameter that *error* names, or the names of all parameters if it is unknown."""
    for field in msgspec.inspect.type_info(wanted).fields:  # type: ignore[attr-defined]
        if f"`$.{field.encode_name}`" in error:
            plain = field.type.type if isinstance(field.type, msgspec.inspect.Metadata) else field.type
            kinds = plain.types if isinstance(plain, msgspec.inspect.UnionType) else (plain,)
            for kind in kinds:
                if isinstance(kind, msgspec.inspect.LiteralType):
                    return f"; it is one of {', '.join(map(str, kind.values))}"
                if isinstance(kind, msgspec.inspect.EnumType):
                    return f"; it is one of {', '.join(kind.cls)}"
            return ""
    return f"; the parameters are {', '.join(wanted.__struct_encode_fields__)}" if "unknown field" in error else ""


async def body_of(request: web.Request) -> bytes:
    """Read the whole body, unpacked. Raises ``RequestRefused`` if it is invalid or does not arrive."""
    return await _arrived(request, request.read())


async def form_of(request: web.Request) -> list[tuple[str, str]]:
    """Read the text fields of a form, in order. Raises ``RequestRefused`` if it is invalid or does not arrive."""
    try:
        fields = await _arrived(request, request.post())
    except (ValueError, LookupError, RuntimeError) as error:  # a bad part, charset or boundary
        raise RequestRefused(400, f"the form cannot be read: {str(error).rstrip('.')}.") from error
    return [(name, value) for name, value in fields.items() if isinstance(value, str)]


async def _arrived(request: web.Request, reading: Awaitable[T]) -> T:
    body_s = request.app[SETTINGS].body_s
    try:
        async with asyncio.timeout(body_s):
            return await reading
    except TimeoutError as error:
        detail = f"the body did not arrive within {body_s:g} s; send it again."
        raise RequestRefused(408, detail, headers={"Connection": "close"}) from error
    except ConnectionError as error:
        raise RequestRefused(LEFT, "the client left before its body was complete.") from error
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise RequestRefused(
            400, "the body is not encoded as its headers say; check its Content-Encoding and Transfer-Encoding."
        ) from error


def client_address(request: web.Request) -> str:
    """The client address, for the limits on one client."""
    return request.app[CLIENT_ADDRESSES].of(request.remote, request.headers.getall("X-Forwarded-For", ()))


def idempotency_key(request: web.Request, *names: str) -> str | None:
    """The first of these headers that is present. Raises ``RequestRefused`` if it is too long or not text."""
    for name in names:
        if key := request.headers.get(name, "").strip():
            if len(key) > IDEMPOTENCY_KEY_CHARACTERS_MAX:
                raise RequestRefused(422, f"{name} may have at most {IDEMPOTENCY_KEY_CHARACTERS_MAX} characters.")
            if not key.isprintable():  # bytes that are not UTF-8 arrive as unprintable characters
                raise RequestRefused(422, f"{name} must be printable text in UTF-8.")
            return key
    return None
