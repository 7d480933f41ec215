"""What a test has logged, keywords included: ``caplog.text`` holds the events alone."""

from __future__ import annotations

import pytest


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Every event with its keywords, and every traceback."""
    return "\n".join([*(str(vars(record)) for record in caplog.records), caplog.text])
