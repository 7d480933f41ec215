"""How long randomised tests run: a moment in ``make test``, as long as needed in ``make verify``.

``FASTFLOW_TEST_PROFILE=long`` selects the long profile; the Makefile sets it.
"""

from __future__ import annotations

import os
from typing import TypeVar

from hypothesis import HealthCheck, settings

IS_LONG = os.environ.get("FASTFLOW_TEST_PROFILE") == "long"
EXAMPLES_SHORT = 30
EXAMPLES_LONG = 500

T = TypeVar("T")


def lasting(short: T, *, long: T) -> T:
    """Return the amount for this session's profile, for example days of a simulation."""
    return long if IS_LONG else short


def load() -> None:
    """Configure Hypothesis. A slow machine never fails a test."""
    settings.register_profile(
        "fastflow",
        deadline=None,
        max_examples=lasting(EXAMPLES_SHORT, long=EXAMPLES_LONG),
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("fastflow")
