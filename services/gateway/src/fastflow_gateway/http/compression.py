"""Compressed answers: which coding a client accepts, and which answers are compressed. I/O: large bodies in a thread.

gzip only: every client and the standard library know it. ADR 43 says where it pays.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Iterable
from typing import Final, NamedTuple

from aiohttp import HttpVersion11, web

from fastflow_gateway.http.route import Handler
from fastflow_gateway.security.client_address import is_loopback

BYTES_MIN: Final = 1024
"""Smaller bodies fit into one packet anyway."""
THREAD_BYTES_MIN: Final = 32 * 1024
"""From this size on, a body is compressed in a thread."""
LEVEL: Final = 6
"""From 1 (fast, and a quarter larger) to 9 (twice as slow, and 4 % smaller)."""
STREAM_LEVEL: Final = 1
STREAM_WINDOW_BITS: Final = 12
STREAM_MEMORY_LEVEL: Final = 5
"""With these a follower takes 38 KiB: a thousand of them are held at once. With the defaults it would be 240 KiB."""
VARY: Final = "Accept-Encoding"
_TEXT: Final = re.compile(r"text/(?!event-stream$).*|application/(.+\+)?json|image/svg\+xml")
"""Types of bodies that get smaller. Images and archives are compressed already."""
_ELEMENT: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*(?:;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?")
"""A coding with its weight, as in RFC 9110."""
_FOREIGN: Final = frozenset({"cross-site", "same-site"})


class Codings(NamedTuple):
    """What a client accepts."""

    gzip: bool
    """It accepts gzip, and does not prefer the plain body."""
    plain: bool


def accepted(fields: Iterable[str]) -> Codings:
    """Read the values of the ``Accept-Encoding`` headers of a request.

    An element that is not valid counts as absent. Of a coding that is named twice, the lower weight counts.
    """
    weights: dict[str, float] = {}
    for element in ",".join(fields).split(","):
        if found := _ELEMENT.fullmatch(element.strip(" \t")):
            name = found[1].lower()
            coding = "gzip" if name == "x-gzip" else name
            weights[coding] = min(weights.get(coding, 1.0), float(found[2] or 1))
    others = weights.get("*")
    gzip, plain = weights.get("gzip", others or 0.0), weights.get("identity", others)
    return Codings(gzip=gzip > 0 and gzip >= (plain or 0.0), plain=plain != 0)


class StreamPacker:
    """Compresses one stream. All that goes in comes out at once: no event waits for the next one."""

    def __init__(self) -> None:
        self._packer = zlib.compressobj(STREAM_LEVEL, zlib.DEFLATED, 16 + STREAM_WINDOW_BITS, STREAM_MEMORY_LEVEL)

    def pack(self, part: bytes | memoryview) -> bytes:
        return self._packer.compress(part) + self._packer.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        """The last bytes of the stream."""
        return self._packer.flush()


def gzipped(body: bytes | bytearray, level: int = LEVEL) -> bytes:
    """Compress *body*. The same body always gives the same bytes."""
    packer = zlib.compressobj(level, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def accepted_by(request: web.Request) -> Codings:
    """What the client of *request* accepts. HTTP/1.0 gets plain bodies: its caches do not know ``Vary``."""
    if request.version < HttpVersion11:
        return Codings(gzip=False, plain=True)
    return accepted(request.headers.getall("Accept-Encoding", ()))


def may_pack(request: web.Request) -> bool:
    """Whether gzip may be chosen for what is secret in an answer to *request*.

    Not if the page of another site made a browser ask: from the lengths of many such answers that page could guess what
    is in them (BREACH).
    """
    return accepted_by(request).gzip and request.headers.get("Sec-Fetch-Site") not in _FOREIGN


def packer_for(request: web.Request) -> StreamPacker | None:
    """What compresses the stream that answers *request*; None: nothing does.

    On one machine it would cost more time than it saves.
    """
    is_local = is_loopback(request.remote or "") and "X-Forwarded-For" not in request.headers
    return StreamPacker() if may_pack(request) and not is_local else None


@web.middleware
async def compress(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Compress the answer if its client accepts that, and it gets smaller. A HEAD has the headers of its GET.

    A handler that sets an ``ETag`` has chosen the coding itself.
    """
    response = await handler(request)
    if not isinstance(response, web.Response) or "ETag" in response.headers:
        return response
    body = response.body
    if not isinstance(body, bytes | bytearray) or not body or not _TEXT.fullmatch(response.content_type):
        return response
    response.headers["Vary"] = VARY
    takes_plain = accepted_by(request).plain
    if not may_pack(request) or (takes_plain and len(body) < BYTES_MIN):
        return response
    packed = await asyncio.to_thread(gzipped, body) if len(body) >= THREAD_BYTES_MIN else gzipped(body)
    if len(packed) < len(body) or not takes_plain:
        response.body = packed
        response.headers["Content-Encoding"] = "gzip"
    return response
