"""Which of two limits holds. Pure."""

from __future__ import annotations


def least(one: int | None, other: int | None) -> int | None:
    """Return the lower of two limits; None = no limit."""
    return min((each for each in (one, other) if each is not None), default=None)
