"""The embedded bus and its restarts."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from pathlib import Path

import pytest

from fastflow.local.nats_process import PortTaken
from fastflow.local.nats_server import embedded_bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.streams import MIB, ensure


@pytest.mark.slow
async def test_an_embedded_bus_accepts_writes_again_after_a_full_disk(tmp_path: Path) -> None:
    """The server alone refuses writes to that stream until a restart."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounting.returncode:
        pytest.skip("only root, outside a container, may mount the small disk that is filled here")
    try:
        async with embedded_bus(disk / "data", keep=True) as url, connect(url, name="test") as bus:
            await ensure(bus.js)
            with (disk / "filler").open("wb") as filler, contextlib.suppress(OSError):
                while filler.write(bytes(MIB)):
                    filler.flush()
            with pytest.raises(Unavailable):
                await bus.publish("ff.log.demo.run.1", bytes(MIB), patience_s=1)
            (disk / "filler").unlink()
            with pytest.raises(Unavailable):
                await bus.publish("ff.log.demo.run.1", b"there is room now", patience_s=1)
            await bus.publish("ff.log.demo.run.1", b"and it was seen", patience_s=30)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.parametrize("speaks", [True, False])
async def test_the_port_of_the_last_time_may_belong_to_another_program(tmp_path: Path, speaks: bool) -> None:
    """Whether that one is another server of this kind or says nothing: it is never taken for our own."""
    async with embedded_bus(tmp_path / "ours") as url:
        port = int(url.rpartition(":")[2])
    async with contextlib.AsyncExitStack() as stack:
        if speaks:
            await stack.enter_async_context(embedded_bus(tmp_path / "theirs", port=port))
        else:
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
        async with embedded_bus(tmp_path / "ours") as again, connect(again, name="test") as bus:
            assert int(again.rpartition(":")[2]) != port
            await ensure(bus.js)
            with pytest.raises(PortTaken, match="address already in use"):
                await stack.enter_async_context(embedded_bus(tmp_path / "third", port=port))


async def test_a_restarted_server_comes_back_to_its_port(tmp_path: Path) -> None:
    """Whatever port it took at first: its clients know that one."""
    async with embedded_bus(tmp_path, keep=True) as url, connect(url, name="test") as bus:
        await ensure(bus.js)
        subprocess.run(["kill", "-9", (tmp_path / "bus.pid").read_text()], check=True)
        async with asyncio.timeout(60):
            await bus.publish("ff.log.demo.run.1", b"here again", patience_s=50)
    async with embedded_bus(tmp_path) as again:
        assert again == url
