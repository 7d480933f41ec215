"""Fixtures that many suites share: a real bus, and checks for Docker and the browser.

``tests/README.md`` lists which tests belong to ``make test`` and which to ``make verify``.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiodocker import Docker

from fastflow.local.nats_server import embedded_bus
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.streams import ensure
from fastflow_runner.sandbox.docker.image import ensure_worker_image
from tests.support import profile
from tests.support.shared_bus import SharedBus

profile.load()

# SIGINT is ignored in what a shell starts in the background, and then in everything that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# The same holds for SIGHUP below ``nohup``. A handler keeps the tests alive, and what they start gets the default.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


# No test waits for the download of an interpreter: those of the machine and of the worker image are enough.
os.environ.setdefault("UV_PYTHON_DOWNLOADS", "never")


@pytest.fixture(scope="session")
def shared_bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedBus]:
    """The nats-server of this worker."""
    shared = SharedBus(tmp_path_factory.mktemp("bus"))
    yield shared
    shared.end()


@pytest_asyncio.fixture
async def bus_url(shared_bus: SharedBus) -> str:
    """A separate account for one test, with all streams, on the server that the worker's tests share."""
    url = shared_bus.account()
    async with connect(url, name="test-setup") as bus:
        await ensure(bus.js)
    return url


@pytest_asyncio.fixture
async def own_bus_url(tmp_path: Path) -> AsyncIterator[str]:
    """A separate nats-server in ``tmp_path / "bus"``, with the users of an installation and all streams."""
    async with embedded_bus(tmp_path / "bus", sync="2m") as url:
        async with connect(url, name="test-setup") as bus:
            await ensure(bus.js)
        yield url


@pytest_asyncio.fixture
async def bus(bus_url: str) -> AsyncIterator[Bus]:
    """A connection to ``bus_url``."""
    async with connect(bus_url, name="test") as bus:
        yield bus


@pytest.fixture(scope="session")
def worker_image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The worker image. If it is missing, one worker of this session builds it and the others wait."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with (shared / "worker-image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return asyncio.run(_ensured_image())


async def _ensured_image() -> str:
    async with Docker() as docker:
        return await ensure_worker_image(docker, progress=lambda line: None)


@pytest.fixture(autouse=True)
def _image_is_there(request: pytest.FixtureRequest) -> None:
    """Build the image first, so that no Docker test waits for it while it measures."""
    if request.node.get_closest_marker("docker"):
        request.getfixturevalue("worker_image")


def _docker_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False).returncode == 0


def _bubblewrap_works() -> bool:
    words = ["bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--ro-bind", "/", "/", "--proc", "/proc"]
    if shutil.which("bwrap") is None:
        return False
    return subprocess.run([*words, "true"], capture_output=True, timeout=20, check=False).returncode == 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without Docker, Chromium or Git LFS their tests skip with a reason, or fail if they are required."""
    _require(items, "docker", _docker_answers, "FASTFLOW_REQUIRE_DOCKER", "no Docker daemon answers")
    _require(items, "bubble", _bubblewrap_works, "FASTFLOW_REQUIRE_DOCKER", "bubblewrap does not work here")
    _require(
        items,
        "browser",
        lambda: any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
        "FASTFLOW_REQUIRE_BROWSER",
        "no Chromium is installed",
    )
    _require(items, "git_lfs", lambda: shutil.which("git-lfs"), "FASTFLOW_REQUIRE_GIT_LFS", "no git-lfs is installed")


def _require(items: list[pytest.Item], marker: str, present: object, required: str, reason: str) -> None:
    marked = [item for item in items if item.get_closest_marker(marker)]
    assert callable(present)
    if not marked or present():
        return
    if os.environ.get(required) == "1":
        raise pytest.UsageError(f"{reason}, and {required}=1 demands it")
    for item in marked:
        item.add_marker(pytest.mark.skip(reason=f"{reason} ({marker} test)"))
