"""A world for every test, and one environment store for all of them."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.chaos.world import World, world

GONE_S = 20.0


@pytest.fixture(scope="session")
def store_volume() -> Iterator[str]:
    """The name of a Docker volume that is removed at the end."""
    name = f"ff-chaos-{secrets.token_hex(6)}"
    yield name
    if shutil.which("docker") is None or _docker("info").returncode:
        return
    deadline = time.monotonic() + GONE_S
    while not _is_removed(name):  # the daemon may still be at work on what a killed runner asked for
        assert time.monotonic() < deadline, f"the volume {name} cannot be removed"
        time.sleep(0.2)


def _is_removed(volume: str) -> bool:
    users = _docker("ps", "--all", "--quiet", "--filter", f"volume={volume}").stdout.split()
    if users:
        _docker("rm", "--force", "--volumes", *users)
    return _docker("volume", "rm", "--force", volume).returncode == 0 and not users


def _docker(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *words], capture_output=True, text=True, timeout=60, check=False)


@pytest_asyncio.fixture
async def here(tmp_path: Path, store_volume: str) -> AsyncIterator[World]:
    """An installation with nothing but its bus."""
    async with world(tmp_path, store_volume) as made:
        yield made
