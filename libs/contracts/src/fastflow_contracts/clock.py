"""The wall clock."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """Return the current time, aware, in UTC. No other code reads the wall clock."""
    return datetime.now(UTC)
