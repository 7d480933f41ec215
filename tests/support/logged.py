"""Logged events with their fields. ``caplog.text`` has only the events."""

from __future__ import annotations

import pytest


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Return every event with its fields, and every traceback."""
    return "\n".join([*(str(vars(record)) for record in caplog.records), caplog.text])
