"""Leaves no environment that only root can remove."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.folders import unlock


@pytest.fixture(autouse=True)
def removable(tmp_path: Path) -> Iterator[None]:
    yield
    unlock(tmp_path)
