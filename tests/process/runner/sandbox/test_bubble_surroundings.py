"""What scripts find around them in a bubblewrap sandbox, and that many sandboxes leave nothing behind."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fastflow_runner.guest.supervisor.meters import descendants
from fastflow_runner.sandbox import Channel, SandboxSpec
from tests.process.runner.sandbox.test_bubble import bubble_sandboxes
from tests.sandbox_contract import Place
from tests.surroundings_contract import SurroundingsContract

pytestmark = [pytest.mark.bubble, pytest.mark.slow]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    sandboxes = bubble_sandboxes(tmp_path / ("far " * 20).strip() / "sandboxes")
    place = Place(sandboxes, SandboxSpec(name=""))
    try:
        yield place
    finally:
        await place.clear()
        await sandboxes.close()


class TestBubbleSurroundings(SurroundingsContract):
    async def processes(self, place: Place, channel: Channel) -> int:
        pid = channel.folder.pid()  # type: ignore[attr-defined]
        return 1 + len(descendants(pid))


async def test_thirty_sandboxes_leave_nothing(place: Place) -> None:
    """No process, descriptor, mount, control group or folder."""
    await _open_and_remove(place)  # what is made once
    before = _left()
    names = {await _open_and_remove(place) for _ in range(30)}
    assert _left() == before
    assert await place.sandboxes.held() == ()
    assert [group for group in Path("/sys/fs/cgroup").rglob("ff-test-*") if group.name in names] == []


async def _open_and_remove(place: Place) -> str:
    channel = await place.open(memory_bytes=100_000_000)
    await channel.close()
    await place.sandboxes.remove(place.name(channel))
    return place.name(channel)


def _left() -> tuple[int, int, int]:
    """Return how many descriptors, child processes and mounts of sandboxes this process has."""
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "/sandboxes" in line]
    return len(os.listdir("/proc/self/fd")), len(descendants(os.getpid())), len(mounts)
