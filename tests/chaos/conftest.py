"""A world for every test, one environment store for all of them, and a second Docker host for tests that request it."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiodocker import Docker

from fastflow_runner.sandbox.docker.image import ensure_worker_image
from tests.chaos.world import World, world
from tests.support.docker_host import DockerHost, missing

GONE_S = 20.0


@pytest.fixture(scope="session")
def store_volume() -> Iterator[str]:
    """The name of a Docker volume that is removed at the end."""
    name = f"ff-chaos-{secrets.token_hex(6)}"
    yield name
    if shutil.which("docker") is None or _docker("info").returncode:
        return
    deadline = time.monotonic() + GONE_S
    while not _is_removed(name):  # the daemon may still be executing requests of a killed runner
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
    """An installation with only its bus."""
    async with world(tmp_path, store_volume) as made:
        yield made


@pytest.fixture
def other_host(second_host: DockerHost) -> DockerHost:
    """The second Docker host: up and without containers, however the test before ended."""
    if not second_host.is_up:
        second_host.start()
    second_host.clear()
    return second_host


@pytest.fixture(scope="module")
def second_host() -> Iterator[DockerHost]:
    """A second Docker host, with the worker image.

    The main thread must start and kill it: it dies with the thread that started it.
    """
    if reason := missing():
        (pytest.fail if os.environ.get("FASTFLOW_REQUIRE_DOCKER") == "1" else pytest.skip)(reason)
    image = asyncio.run(_worker_image())
    host = DockerHost()
    try:
        host.start()
        host.load(image)
        yield host
    finally:
        host.remove()


async def _worker_image() -> str:
    async with Docker() as client:
        return await ensure_worker_image(client, progress=lambda line: None)
