"""Clients that fail too often wait."""

from __future__ import annotations

from fastflow_gateway.security.rate_limit import CLIENTS_MAX, RateLimit


def test_only_a_client_that_failed_too_often_waits() -> None:
    """Three failures at once, then one a minute. Memory is bounded."""
    limit = RateLimit(burst=3, per_minute=1)
    for _ in range(3):
        assert limit.wait_s("a", 0) == 0
        limit.failed("a", 0)
    assert limit.wait_s("a", 0) == 60
    assert limit.wait_s("b", 0) == 0
    assert limit.wait_s("a", 59) == 1
    assert limit.wait_s("a", 60) == 0
    for n in range(CLIENTS_MAX):
        limit.failed(str(n), 61)
    assert limit.wait_s("a", 61) == 0
