"""A world for every test, and one environment store for all of them."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.chaos.world import World, world


@pytest.fixture(scope="session")
def store_volume() -> Iterator[str]:
    """The name of a Docker volume that is removed at the end."""
    name = f"ff-chaos-{secrets.token_hex(6)}"
    yield name
    subprocess.run(["docker", "volume", "rm", "--force", name], capture_output=True, timeout=60, check=False)


@pytest_asyncio.fixture
async def here(tmp_path: Path, store_volume: str) -> AsyncIterator[World]:
    """An installation with nothing but its bus."""
    async with world(tmp_path, store_volume) as made:
        yield made
