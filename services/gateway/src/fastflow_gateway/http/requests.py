"""What handlers share: reading a request, and answering. It knows no route and no pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.security.client_address import CLIENT_ADDRESSES

Q = TypeVar("Q", bound=msgspec.Struct)
T = TypeVar("T")

BODY_S: Final = 60.0
"""How long a body may take to arrive."""
IDEMPOTENCY_KEY_CHARACTERS_MAX: Final = 255
LEFT: Final = 499
"""The status that other servers count, too, when a client leaves before its request is whole. Nobody reads it."""


def answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """*value*, a shape, as JSON."""
    return web.Response(
        body=msgspec.json.encode(value), status=status, headers=headers, content_type="application/json"
    )


def query(request: web.Request, wanted: type[Q]) -> Q:
    """The query parameters; an empty one counts as not given. Raises ``RequestRefused`` for one that cannot be used."""
    given = {name: value for name, value in request.query.items() if value}
    try:
        return msgspec.convert(given, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise RequestRefused(422, f"the query cannot be used: {error}{_accepted(wanted, str(error))}") from error


def _accepted(wanted: type[msgspec.Struct], error: str) -> str:
    """What the parameter that *error* names takes, if that is a choice; else which parameters there are."""
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
    return f"; there are {', '.join(wanted.__struct_encode_fields__)}" if "unknown field" in error else ""


async def body_of(request: web.Request) -> bytes:
    """All of the body, unpacked. Raises ``RequestRefused``, also when it does not come."""
    return await _arrived(request.read())


async def form_of(request: web.Request) -> list[tuple[str, str]]:
    """The text fields of a form, in order. Raises ``RequestRefused``, also when they do not come."""
    try:
        fields = await _arrived(request.post())
    except (ValueError, LookupError, RuntimeError) as error:  # whatever a part, a charset or a boundary has wrong
        raise RequestRefused(400, f"the form cannot be read: {str(error).rstrip('.')}.") from error
    return [(name, value) for name, value in fields.items() if isinstance(value, str)]


async def _arrived(reading: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(BODY_S):
            return await reading
    except TimeoutError as error:
        detail = f"the body did not arrive within {BODY_S:g} s; send it again."
        raise RequestRefused(408, detail, headers={"Connection": "close"}) from error
    except ConnectionError as error:
        raise RequestRefused(LEFT, "the client left before its body was whole.") from error
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise RequestRefused(
            400, "the body is not encoded as its headers say; see its Content-Encoding and Transfer-Encoding."
        ) from error


def caller_of(request: web.Request) -> str:
    """The address of the client that asks, for limits on what one client may do."""
    return request.app[CLIENT_ADDRESSES].of(request.remote, request.headers.getall("X-Forwarded-For", ()))


def idempotency_key(request: web.Request, *names: str) -> str | None:
    """The first of these headers that is given. Raises ``RequestRefused`` for one that is too long or no text."""
    for name in names:
        if key := request.headers.get(name, "").strip():
            if len(key) > IDEMPOTENCY_KEY_CHARACTERS_MAX:
                raise RequestRefused(422, f"{name} may have at most {IDEMPOTENCY_KEY_CHARACTERS_MAX} characters.")
            if not key.isprintable():  # bytes that are no UTF-8 come as what no text holds
                raise RequestRefused(422, f"{name} must be printable text in UTF-8.")
            return key
    return None
