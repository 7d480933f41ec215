"""The scheduler's jobs as text in tables. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from fastflow_api.formatting import countdown, exact
from fastflow_api.shapes import Job


def words(job: Job) -> str:
    """``cron 0 3 * * *``, ``every 60 s``, ``at 2026-01-31 03:00:00 UTC``."""
    if job.kind == "once":
        return f"at {exact(datetime.fromisoformat(job.value).astimezone(UTC))}"
    if job.kind == "interval" or (job.kind == "restart" and job.value.isdecimal()):
        return f"every {job.value} s"
    return f"cron {job.value}"


def due(at: datetime | None, now: datetime) -> str:
    """``in 3 m 05 s``; empty if there is no next slot."""
    return countdown(at, now) if at else ""
