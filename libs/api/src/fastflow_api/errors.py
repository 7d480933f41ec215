"""The errors of the client: one tree, each with the server's own sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final


class ApiError(Exception):
    """Base of all errors. ``str()`` is the server's sentence, which says what to do.

    Attributes:
        status: The HTTP status, or None if there was no answer.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(ApiError):
    """Nothing answers at the address, or the server cannot work right now (502, 503, 504).

    A write may or may not have taken effect. A start repeated with the same ``key`` is the same run.
    """


class NotSignedIn(ApiError):
    """The token is missing or wrong (401)."""


class Forbidden(ApiError):
    """The token is valid and does not allow this (403)."""


class NotFound(ApiError):
    """There is no such pipeline, run, job or runner, or the pipeline is disabled (404)."""


class Conflict(ApiError):
    """The current state does not allow this: the run is over, the pipeline has no valid version (409)."""


class BadRequest(ApiError):
    """The request is not valid: a bad value, or too large (400, 413, 422 and every other 4xx)."""


class TooMany(ApiError):
    """Not now: ``max_instances`` is reached, or there were too many attempts (429).

    Attributes:
        retry_after: Seconds to wait, from the server; None if it did not say.
    """

    def __init__(self, message: str, *, status: int | None = 429, retry_after: float | None = None) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after


_KINDS: Final[Mapping[int, type[ApiError]]] = {
    401: NotSignedIn,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    502: Unreachable,
    503: Unreachable,
    504: Unreachable,
}


def error_of(status: int, message: str, *, retry_after: str | None = None) -> ApiError:
    """Make the error for an answer.

    Args:
        status: The HTTP status, 300 or more.
        message: The server's sentence.
        retry_after: The ``Retry-After`` header.
    """
    if status == 429:
        return TooMany(message, retry_after=_seconds(retry_after))
    kind = _KINDS.get(status) or (BadRequest if 400 <= status < 500 else ApiError)
    return kind(message, status=status)


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None  # a date; our gateway never sends one
