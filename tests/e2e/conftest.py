"""What tests of whole runs share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def kept_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory for one system after the other, so that environments need not be made for each test."""
    return tmp_path_factory.mktemp("kept")
