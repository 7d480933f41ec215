"""How long a request may wait for its answer, and what it is told about that. Nothing here knows of runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Annotated, Final, NamedTuple

import msgspec
from aiohttp import web

from fastflow_contracts.runs.calls import PREFER, WAIT_S_MAX, preferred_wait_s
from fastflow_gateway.http.protocol import Protocol
from fastflow_gateway.http.request_metrics import WAITED_S
from fastflow_gateway.http.requests import query

PREFER_HEADERS: Final = {PREFER: "`wait=SECONDS` is the same as the parameter `wait`; more than 60 count as 60."}
"""The header of routes that may wait, for the OpenAPI document."""


class WaitQuery(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait for the end of the run."""

    wait: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=WAIT_S_MAX)] | None,
        msgspec.Meta(
            description="Wait up to this many seconds for the end of the run: 200 with the run that is over, however "
            "it ended, or 202 if it is not over in time.",
        ),
    ] = None


class Wait(NamedTuple):
    """What a request says about waiting."""

    seconds: int
    """0: do not wait."""
    deadline_s: float
    """By the loop's clock."""
    is_preferred: bool
    """It was asked for by the header, which is confirmed in the answer."""

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer."""
        return {"Preference-Applied": f"wait={self.seconds}"} if self.is_preferred and self.seconds else {}


def wait_of(request: web.Request) -> Wait:
    """How long to wait, from now. The parameter wins over the header. Raises ``RequestRefused`` if it is invalid."""
    wanted = query(request, WaitQuery).wait
    preferred = preferred_wait_s(request.headers.getall(PREFER, ())) if wanted is None else None
    seconds = wanted or preferred or 0
    return Wait(seconds, asyncio.get_running_loop().time() + seconds, is_preferred=preferred is not None)


@contextlib.contextmanager
def holding(request: web.Request, wake: asyncio.Event) -> Iterator[None]:
    """Set *wake* when the client leaves, and note how long its answer is held back. ``has_left`` then tells."""
    protocol, loop = request.protocol, asyncio.get_running_loop()
    assert isinstance(protocol, Protocol)
    began_s = loop.time()
    protocol.wake_when_lost.add(wake)
    try:
        yield
    finally:
        protocol.wake_when_lost.discard(wake)
        request[WAITED_S] = loop.time() - began_s


def has_left(request: web.Request) -> bool:
    """Whether the connection is closed."""
    return request.transport is None
