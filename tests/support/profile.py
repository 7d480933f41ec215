"""How long the tests that draw at random look: a moment in ``make test``, as long as it takes in ``make verify``.

``FASTFLOW_TEST_PROFILE=long`` says which; the Makefile sets it.
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
    """The amount for the profile of this session: days of a simulation, for instance."""
    return long if IS_LONG else short


def load() -> None:
    """Tell Hypothesis. A slow machine is never a finding."""
    settings.register_profile(
        "fastflow",
        deadline=None,
        max_examples=lasting(EXAMPLES_SHORT, long=EXAMPLES_LONG),
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("fastflow")
