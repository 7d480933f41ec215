"""What is paused."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from fastflow_api.shapes.base import Shape


class Pause(Shape, frozen=True, kw_only=True):
    """A pause: no new run begins until it ends. Runs that have begun go on, and starts are kept."""

    reason: str
    by: str
    """Who paused, as they called themselves; empty: they did not say."""
    via: Literal["manual", "api"]
    """``manual``: on a page of the dashboard; ``api``: with the token."""
    since: datetime


class Pauses(Shape, frozen=True, kw_only=True):
    """All pauses."""

    installation: Pause | None
    """It holds the new runs of all pipelines."""
    pipelines: dict[str, Pause]
    """Pauses of single pipelines, by name."""
