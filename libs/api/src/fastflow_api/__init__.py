"""A typed client for Fast-Flow's HTTP API.

``Client`` sends requests; ``shapes`` has the types of the answers; ``ApiError`` is the base of all errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastflow_api.errors import (
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    NotSignedIn,
    TooMany,
    Unreachable,
)

if TYPE_CHECKING:
    from fastflow_api.client import Client

__all__ = [
    "ApiError",
    "BadRequest",
    "Client",
    "Conflict",
    "Forbidden",
    "NotFound",
    "NotSignedIn",
    "TooMany",
    "Unreachable",
]


def __getattr__(name: str) -> Any:
    # Lazy: programs that only need the shapes, such as the gateway, do not load an HTTP client.
    if name == "Client":
        from fastflow_api.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
