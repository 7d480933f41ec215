"""What Fast-Flow's HTTP API says, and a typed client that asks it.

``Client`` asks; ``shapes`` are its answers; ``ApiError`` is the root of what goes wrong.
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
    # Programs that only need the shapes, such as the gateway, do not load an HTTP client for them.
    if name == "Client":
        from fastflow_api.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
