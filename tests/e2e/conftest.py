"""Fixtures for tests of whole runs."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def kept_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory for one system after another, so that environments are not made for each test."""
    return tmp_path_factory.mktemp("kept")
