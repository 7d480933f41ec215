"""Routes as data: the application adds them, and the OpenAPI document describes those of the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import msgspec
from aiohttp import web

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Media(NamedTuple):
    """A body that is not JSON."""

    type: str
    description: str


class Route(NamedTuple):
    """One method of one path."""

    method: str
    path: str
    handler: Handler
    summary: str = ""
    """One line for the OpenAPI document; pages have none."""
    answers: Mapping[int, Any] = {}
    """Status to the type of the JSON body, a tuple of such types, or ``Media``. Errors that every route may give are
    not listed.
    """
    query: type[msgspec.Struct] | None = None
    body: Any = None
    """Type of the JSON body, or ``Media``; None: no body."""
    headers: Mapping[str, str] = {}
    """Request headers that the route reads, and what they do."""
    is_public: bool = False
    """Needs neither token nor session."""
    is_stream: bool = False
    """The answer is a stream: HEAD is not allowed."""
