"""What an HTTP status becomes. Pure."""

from __future__ import annotations

import pytest

from fastflow_api.errors import ApiError, BadRequest, TooMany, Unreachable, error_of


@pytest.mark.parametrize(
    ("status", "kind"), [(400, BadRequest), (413, BadRequest), (418, BadRequest), (500, ApiError), (503, Unreachable)]
)
def test_each_status_has_its_own_error(status: int, kind: type[ApiError]) -> None:
    """The error has the server's sentence."""
    error = error_of(status, "say so")
    assert (type(error), str(error), error.status) == (kind, "say so", status)


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), (None, None), ("Mon, 02 Mar 2026", None), ("-1", 0.0)])
def test_retry_after_is_read_in_seconds(header: str | None, seconds: float | None) -> None:
    """A date is not a number of seconds."""
    error = error_of(429, "later", retry_after=header)
    assert isinstance(error, TooMany)
    assert error.retry_after == seconds
