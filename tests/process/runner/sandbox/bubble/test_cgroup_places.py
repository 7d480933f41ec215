"""Control groups of sandboxes that a runner in another control group has made."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from fastflow_runner.sandbox import SandboxSpec
from fastflow_runner.sandbox.bubble.cgroups import CONTROLLERS, Cgroups, find_cgroups
from fastflow_runner.sandbox.bubble.cgroups.group import GroupPlace
from fastflow_runner.sandbox.bubble.launch import Launcher
from fastflow_runner.sandbox.bubble.network import BubbleNetworks
from fastflow_runner.sandbox.bubble.sandboxes import BubbleSandboxes
from fastflow_runner.sandbox.bubble.stage import Stage
from fastflow_runner.sandbox.bubble.syscalls import program
from fastflow_runner.sandbox.bubble.system import system_view
from fastflow_runner.sandbox.bubble.tools import find_bubblewrap

pytestmark = pytest.mark.usefixtures("bwrap")


@pytest.fixture
def other_places() -> Iterator[Mapping[str, GroupPlace]]:
    """Groups beside those of this runner, where another runner has its sandboxes."""
    found = find_cgroups()
    if not found.places:
        (pytest.fail if os.environ.get("FASTFLOW_REQUIRE_DOCKER") == "1" else pytest.skip)(" ".join(found.unenforced))
    name = f"other-{uuid4()}"
    places = {each: GroupPlace(place.folder / name, place.version) for each, place in found.places.items()}
    for place in places.values():
        place.folder.mkdir(exist_ok=True)
        if place.version == 2:
            for each in CONTROLLERS & set((place.folder / "cgroup.controllers").read_text().split()):
                (place.folder / "cgroup.subtree_control").write_text(f"+{each}")
    yield places
    for place in places.values():
        with suppress(FileNotFoundError):
            place.folder.rmdir()


def runner(root: Path, cgroups: Cgroups) -> BubbleSandboxes:
    return BubbleSandboxes(
        root, Launcher(find_bubblewrap(), system_view(), Stage(), program()), BubbleNetworks(network="none"), cgroups
    )


@pytest.mark.parametrize("has_ended", [True, False])
async def test_the_next_runner_removes_the_group_wherever_it_is(
    tmp_path: Path, other_places: Mapping[str, GroupPlace], has_ended: bool
) -> None:
    """Also where no process of the sandbox is left to ask."""
    first = runner(tmp_path, Cgroups(other_places, ()))
    channel = await first.open(SandboxSpec(name=f"ff-test-{uuid4()}", memory_bytes=64 << 20))
    name = channel.folder.name
    groups = {place.folder / name for place in other_places.values()}
    assert all(group.is_dir() for group in groups)
    pid = channel.folder.pid()
    assert pid is not None
    await channel.close()
    await first.close()
    second = runner(tmp_path, find_cgroups())
    if has_ended:
        os.kill(pid, signal.SIGKILL)
        (held,) = await second.held()
        attached = await second.attach(held)
        await attached.wait()
        await attached.close()
    await second.remove(name)
    await second.close()
    assert [group for group in groups if group.exists()] == []
    await first.remove(name)  # it waits for its own child
