"""What a gateway says when the disk of the bus was full, and nobody restarts that server by itself."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from fastflow.local.nats_server import embedded_bus
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.errors import NotStored
from fastflow_contracts.bus.streams import MIB, ensure
from fastflow_contracts.service import storage_watch
from tests.support.command import fastflow
from tests.support.gateway import TOKEN, Answer, Client, running_gateway

SEEN_S = 90.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounting.returncode:
        pytest.skip("only root, outside a container, may mount the small disk that is filled here")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.slow
async def test_a_bus_that_stores_nothing_after_a_full_disk_is_named_with_what_to_do(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In /readyz, on the page of the runners, by the command, and in the error of each write; until its restart."""
    monkeypatch.setattr(storage_watch, "LOOK_S", 0.5)
    monkeypatch.setattr(storage_watch, "PATIENCE_S", 1.0)
    monkeypatch.setattr("fastflow_contracts.bus.client.ANSWER_S", 2.0)
    async with AsyncExitStack() as server:
        url = await server.enter_async_context(embedded_bus(disk / "data"))
        async with connect(url, name="test") as bus:
            await ensure(bus.js)
            async with running_gateway(bus) as client:
                await until(client, 200)
                with (disk / "filler").open("wb") as filler, contextlib.suppress(OSError):
                    while filler.write(bytes(MIB)):
                        filler.flush()
                complaint = (await until(client, 503)).json["dependencies"]["storage"]
                assert "stores nothing" in complaint
                (disk / "filler").unlink()
                await refused(bus, complaint.split()[0].removeprefix("KV_"))
                answer = await until(client, 503)
                assert "Make room, then restart nats-server" in answer.json["dependencies"]["storage"]
                assert answer.json["dependencies"]["bus"] == "ok"
                assert "fastflow_gateway_bus_stores 0" in (await client.get("/metrics")).text
                page = await client.get("/runners")
                assert "restart nats-server" in page.text
                told = await asyncio.to_thread(
                    fastflow, "doctor", cwd=tmp_path, FASTFLOW_URL=client.url, FASTFLOW_TOKEN=TOKEN
                )
                assert told.returncode == 1
                assert "restart nats-server" in told.stdout, told.stderr
                await server.aclose()
                await server.enter_async_context(embedded_bus(disk / "data"))
                await until(client, 200)


async def refused(bus: Bus, bucket: str) -> None:
    """There is room again, and the server does not write all the same."""
    with pytest.raises(NotStored, match="restart nats-server"):
        await bus.publish(f"$KV.{bucket}.run.demo.1", b"there is room now", patience_s=1)


async def until(client: Client, status: int) -> Answer:
    """Wait until /readyz answers with *status*."""
    async with asyncio.timeout(SEEN_S):
        while (answer := await client.get("/readyz", anonymous=True)).status != status:
            await asyncio.sleep(0.1)
        return answer
