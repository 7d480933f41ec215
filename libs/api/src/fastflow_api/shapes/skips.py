"""Refused starts with their messages."""

from __future__ import annotations

from fastflow_api.shapes.base import Shape
from fastflow_api.shapes.runs import Skip


class SkipDetail(Skip, frozen=True, kw_only=True):
    """A start that was refused, with its message."""

    is_kept: bool
    """Its message is kept, or is in ``stream`` unless that has removed it; else it cannot be redriven."""
    is_copied: bool
    """It is kept beside the skip. Large ones of ``stream`` are not, and none of their fields is here."""
    event: str | None
    """The event as text; null: it has none. Bytes that are not UTF-8 are replaced, and values of variables are hidden.
    A list cuts it after 4,096 characters."""
    event_bytes: int
    """Size of the whole event."""
    event_type: str | None
    headers: dict[str, str]
    """Headers of the message. Only some values are shown; the others are ``***``."""
    env_vars: dict[str, str]
    """Variables given with the start; every value is ``***``."""
    parameters: dict[str, str]
    """Parameters given with the start; every value is ``***``."""


class SkipPage(Shape, frozen=True, kw_only=True):
    """Skips, newest first. ``next_cursor`` is for the next, older page; null: this is the last page."""

    skips: tuple[SkipDetail, ...]
    next_cursor: str | None


class Redriven(Shape, frozen=True, kw_only=True):
    """What the redrive of all matching skips came to."""

    matched: int
    """Open skips that match."""
    started: int = 0
    """Runs that started, or will."""
    refused: int = 0
    """Skips that were refused again; they stay open."""
    left: int = 0
    """Skips that were not tried: one request redrives at most 500."""
    next_cursor: str | None = None
    """For the next request, which continues with newer skips; null: none are left."""
    run_ids: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    """Why some were refused again, the most frequent reason first."""
