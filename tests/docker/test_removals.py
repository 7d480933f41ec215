"""Containers of ended runs are removed off the path of the next runs: soon, few at a time, and all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from aiodocker import Docker

from fastflow_contracts.runs.run import RunStatus
from fastflow_runner.attempts.attempt_sandbox import IDLE_FILES_BYTES_MAX
from fastflow_runner.attempts.removals import Removals
from fastflow_runner.sandbox import SandboxSpec
from fastflow_runner.sandbox.docker.image import ensure_worker_image
from fastflow_runner.sandbox.docker.sandboxes import DockerSandboxes
from fastflow_runner.sandbox.job import Hold
from tests.sandbox_contract import Place
from tests.support.runner_bench import at_work
from tests.support.slow_daemon import SlowDaemon
from tests.support.system import system

pytestmark = pytest.mark.docker

PATIENCE_S = 60.0
OF_AN_ATTEMPT = r"ff-[0-9a-f]{8}-[0-9a-f]{8}-"


@pytest.fixture
async def daemon(docker: Docker, tmp_path: Path) -> AsyncIterator[SlowDaemon]:
    async with SlowDaemon(tmp_path / "daemon") as daemon:
        yield daemon


@pytest.fixture
async def place(docker: Docker, daemon: SlowDaemon) -> AsyncIterator[Place]:
    sandboxes = DockerSandboxes(scope=f"test-{uuid4()}", url=daemon.url)
    place = Place(sandboxes, SandboxSpec(name="", image=await ensure_worker_image(docker, progress=lambda line: None)))
    try:
        yield place
    finally:
        daemon.refusals = 0
        daemon.pass_removals.set()
        await place.clear()
        await sandboxes.close()


async def names(place: Place) -> list[str]:
    return sorted(held.name for held in await place.sandboxes.held())


async def opened(place: Place, count: int) -> list[str]:
    """Open sandboxes and return their names, sorted."""
    made = []
    for _ in range(count):
        channel = await place.open()
        await channel.close()
        made.append(place.name(channel))
    return sorted(made)


async def until_removed(place: Place) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await place.sandboxes.held():
            await asyncio.sleep(0.1)


async def test_a_slot_is_free_before_the_container_is_removed(
    docker: Docker, bus_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one slot, three runs end while the daemon removes none of their containers.

    It is asked for one removal at a time. One that it refuses is tried again by the sweep. When the runner has stopped,
    nothing is left.
    """
    async with AsyncExitStack() as stack:
        daemon = await stack.enter_async_context(SlowDaemon(tmp_path / "daemon", holds=OF_AN_ATTEMPT))
        monkeypatch.setenv("DOCKER_HOST", daemon.url)
        settings = {"slots": 1, "pool_size_max": 4, "network": "none", "lease_s": 6.0, "fence_s": 3.0}
        world = await stack.enter_async_context(system(bus_url, tmp_path, sandbox="docker", **settings))
        await world.pipeline("brief", "print(1)")
        runs = [await world.run("brief") for _ in range(3)]
        assert [run.status for run in runs] == [RunStatus.SUCCESS] * 3
        left = [each["Names"][0] for each in await docker.containers.list(all=True) if _is_of(each, runs[0].id)]
        assert left, "its container must still be there"
        await daemon.until_asked(1)
        assert daemon.at_once_max == 1
        daemon.refusals = 1
        daemon.pass_removals.set()
        async with asyncio.timeout(PATIENCE_S):
            while any(_is_of(each, run.id) for each in await docker.containers.list(all=True) for run in runs):
                await asyncio.sleep(0.1)
        run = await world.run("brief")
    assert not any(_is_of(each, run.id) for each in await docker.containers.list(all=True))


def _is_of(container: object, run_id: str) -> bool:
    return any(run_id in name for name in container["Names"])  # type: ignore[index]


async def test_removals_are_bounded(place: Place, daemon: SlowDaemon) -> None:
    """Two wait and one of them is under way; the attempt that brings the third removes it before going on."""
    made = await opened(place, 3)
    removals = Removals(place.sandboxes, waiting_max=2)
    async with at_work(removals.keep()):
        await removals.remove_later(made[0])
        await removals.remove_later(made[1])
        await daemon.until_asked(1)
        third = asyncio.create_task(removals.remove_later(made[2]))
        await daemon.until_asked(2)
        assert daemon.asked == [made[0], made[2]]
        assert not third.done()
        assert (len(removals), made[0] in removals, made[1] in removals) == (2, True, True)
        assert await names(place) == made, "a name is taken until its container is removed"
        daemon.pass_removals.set()
        await third
        await until_removed(place)
    assert daemon.at_once_max == 2


async def test_a_removal_waits_while_an_attempt_opens_its_sandbox(
    place: Place, daemon: SlowDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And begins after that."""
    monkeypatch.setattr("fastflow_runner.attempts.removals.QUIET_S", 0.05)
    daemon.pass_removals.set()
    (name,) = await opened(place, 1)
    removals = Removals(place.sandboxes, waiting_max=2)
    async with at_work(removals.keep()):
        with removals.opening():
            await removals.remove_later(name)
            await opened(place, 1)  # many times the quiet moment
            assert not daemon.asked
        await daemon.until_asked(1)
        assert daemon.asked == [name]


async def test_a_removal_does_not_wait_for_ever(
    place: Place, daemon: SlowDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runner that always opens a sandbox still removes those that are over."""
    monkeypatch.setattr("fastflow_runner.attempts.removals.QUIET_S", 0.05)
    monkeypatch.setattr("fastflow_runner.attempts.removals.PATIENCE_S", 0.2)
    daemon.pass_removals.set()
    made = await opened(place, 2)
    removals = Removals(place.sandboxes, waiting_max=2)
    async with at_work(removals.keep()):
        with removals.opening():
            for name in made:
                await removals.remove_later(name)
            await until_removed(place)


async def test_an_error_of_the_daemon_harms_only_that_removal(place: Place, daemon: SlowDaemon) -> None:
    """The others go; the one is no longer hidden from the sweep."""
    made = await opened(place, 3)
    daemon.refusals = 1
    daemon.pass_removals.set()
    removals = Removals(place.sandboxes, waiting_max=3)
    async with at_work(removals.keep()):
        for name in made:
            await removals.remove_later(name)
        async with asyncio.timeout(PATIENCE_S):
            while len(removals):
                await asyncio.sleep(0.05)
    assert await names(place) == [made[0]]


async def test_a_runner_that_stops_removes_what_waits(place: Place, daemon: SlowDaemon) -> None:
    """Also the one whose removal is under way; a few at a time."""
    made = await opened(place, 6)
    removals = Removals(place.sandboxes, waiting_max=6)
    async with at_work(removals.keep()):
        for name in made:
            await removals.remove_later(name)
        await daemon.until_asked(1)
    assert len(removals) == 6
    closing = asyncio.create_task(removals.close())
    await daemon.until_asked(5)
    assert daemon.at_once_max <= 5
    daemon.pass_removals.set()
    await closing
    assert await names(place) == []


async def test_a_runner_that_stops_leaves_to_the_sweep_what_the_daemon_does_not_remove(
    place: Place, daemon: SlowDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not hang with the daemon."""
    monkeypatch.setattr("fastflow_runner.attempts.removals.CLOSE_S", 0.2)
    made = await opened(place, 1)
    removals = Removals(place.sandboxes, waiting_max=1)
    await removals.remove_later(made[0])
    await removals.close()
    assert await names(place) == made


async def test_a_sandbox_says_how_much_memory_files_hold_at_its_end(place: Place) -> None:
    """What holds much is removed at once."""
    assert (await place.run("print(1)")).exited.files_bytes <= IDLE_FILES_BYTES_MAX
    wrote = await place.run("open('data', 'wb').write(bytes(4 * 1024**2))")
    assert wrote.exited.files_bytes >= 4 * 1024**2 > IDLE_FILES_BYTES_MAX


async def test_a_waiting_sandbox_does_not_keep_its_environment(place: Place, docker: Docker) -> None:
    """It holds it while its script runs, and not after that: it may be collected while the sandbox waits."""
    holds = (Hold(path="/etc/passwd", byte=7, python="/usr/bin/python3"),)
    channel = await place.open()
    ran = await place.run("print(open('/proc/locks').read())", channel=channel, holds=holds)
    held = b" 7 7\n"  # other containers' locks are in the list, too, of other bytes
    assert held in ran.stdout
    execution = await docker.containers.container(place.name(channel)).exec(["cat", "/proc/locks"])
    async with execution.start() as stream:
        said = b""
        while (message := await stream.read_out()) is not None:
            said += message.data
    assert held not in said
