"""The sandbox without a daemon: the contract, and the walls that bubblewrap makes."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fastflow_runner.guest.supervisor.meters import descendants
from fastflow_runner.sandbox import Channel, SandboxSpec
from fastflow_runner.sandbox.bubble.cgroups import find_cgroups
from fastflow_runner.sandbox.bubble.folder import SandboxFolder
from fastflow_runner.sandbox.bubble.launch import Launcher
from fastflow_runner.sandbox.bubble.network import BubbleNetworks
from fastflow_runner.sandbox.bubble.sandboxes import BubbleSandboxes
from fastflow_runner.sandbox.bubble.stage import Stage
from fastflow_runner.sandbox.bubble.syscalls import program
from fastflow_runner.sandbox.bubble.system import system_view
from fastflow_runner.sandbox.bubble.tools import find_bubblewrap
from tests.sandbox_contract import Place, SandboxContract


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    launcher = Launcher(find_bubblewrap(), system_view(), Stage(), program())
    sandboxes = BubbleSandboxes(tmp_path / "sandboxes", launcher, BubbleNetworks(), find_cgroups())
    place = Place(sandboxes, SandboxSpec(name=""))
    try:
        yield place
    finally:
        await place.clear()
        await sandboxes.close()


class TestBubbleSandbox(SandboxContract):
    async def kill(self, place: Place, channel: Channel) -> None:
        os.kill(_supervisor_pid(channel), signal.SIGKILL)

    async def processes(self, place: Place, channel: Channel) -> int:
        return 1 + len(descendants(_supervisor_pid(channel)))


def _supervisor_pid(channel: Channel) -> int:
    folder = channel.folder  # type: ignore[attr-defined]
    assert isinstance(folder, SandboxFolder)
    pid = folder.pid()
    assert pid is not None
    return pid
