"""TODO."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The wall clock: the one place it is read from."""
    return datetime.now(UTC)
