"""Bubblewrap, where it works."""

from __future__ import annotations

import os

import pytest

from tests.support import bubblewrap


@pytest.fixture(scope="session")
def bwrap() -> None:
    if reason := bubblewrap.missing():
        (pytest.fail if os.environ.get("FASTFLOW_REQUIRE_DOCKER") == "1" else pytest.skip)(reason)
