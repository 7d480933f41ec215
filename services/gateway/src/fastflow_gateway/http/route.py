"""Routes as data: the application adds them, and the OpenAPI document is made of those of the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import msgspec
from aiohttp import web

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Media(NamedTuple):
    """An answer that is no JSON."""

    type: str
    description: str


class Route(NamedTuple):
    """One method of one path."""

    method: str
    path: str
    handler: Handler
    summary: str = ""
    """For the API's document; pages have none."""
    answers: Mapping[int, Any] = {}
    """Status to the type that is sent as JSON, or ``Media``. Errors that any route may give are not listed."""
    query: type[msgspec.Struct] | None = None
    body: Any = None
    """Type of the JSON body, or ``Media``. None: there is none."""
    headers: Mapping[str, str] = {}
    """Request headers that matter, and what they do."""
    is_public: bool = False
    """Needs neither token nor session."""
    is_stream: bool = False
    """The answer is sent as it comes: there is no asking for its head alone."""
