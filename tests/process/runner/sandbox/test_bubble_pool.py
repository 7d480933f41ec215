"""Warm sandboxes without a daemon: the contract, and that warm ones are as strict as cold ones."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fastflow_runner.guest.supervisor.meters import descendants
from fastflow_runner.sandbox import AlreadyExists, Channel, Held, SandboxSpec
from fastflow_runner.sandbox.bubble.channel import BubbleChannel
from fastflow_runner.sandbox.naming import LABEL_KEEPER, AttemptId, attempt_name, attempt_of, is_warm
from fastflow_runner.sandbox.pool import Pool
from fastflow_runner.sandbox.session import Session
from tests.process.runner.sandbox.test_bubble import bubble_sandboxes
from tests.sandbox_contract import NOTHING, Place, SandboxContract
from tests.support.ids import fresh_run_id

pytestmark = [pytest.mark.bubble, pytest.mark.slow]

INSTALLATION = "0123456789abcdef"
MIB = 1024 * 1024
LIMITED: dict[str, Any] = {"memory_bytes": 128 * MIB, "cpu_cores": 0.5}


def bubble_pool(root: Path, size_max: int = 2, network: str = "none") -> Pool[BubbleChannel]:
    keeper = {LABEL_KEEPER: "test"}
    blank = SandboxSpec(name="", network=network)
    return Pool(bubble_sandboxes(root), blank, installation=INSTALLATION, keeper=keeper, size_max=size_max)


class FullPool:
    """A pool that is full before each ``open``, so it uses a warm sandbox whenever possible."""

    def __init__(self, pool: Pool[BubbleChannel]) -> None:
        self.pool = pool
        self.unenforced = pool.unenforced

    async def open(self, spec: SandboxSpec) -> Channel:
        await self.pool.fill()
        waiting = len(self.pool.waiting)
        channel = await self.pool.open(spec)
        if spec == SandboxSpec(name=spec.name):
            assert len(self.pool.waiting) == waiting - 1, "was not served warm"
        return channel

    async def held(self) -> tuple[Held, ...]:
        return await self.pool.held()

    async def attach(self, held: Held) -> Channel:
        return await self.pool.attach(held)

    async def remove(self, name: str) -> None:
        await self.pool.remove(name)

    async def close(self) -> None:
        await self.pool.close()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    pool = FullPool(bubble_pool(tmp_path / "sandboxes"))
    place = Place(pool, SandboxSpec(name=""))
    try:
        yield place
    finally:
        await place.clear()
        await pool.close()


def pool_of(place: Place) -> Pool[BubbleChannel]:
    assert isinstance(place.sandboxes, FullPool)
    return place.sandboxes.pool


class TestWarmBubble(SandboxContract):
    async def kill(self, place: Place, channel: Channel) -> None:
        os.kill(_pid(channel), signal.SIGKILL)

    async def processes(self, place: Place, channel: Channel) -> int:
        return 1 + len(descendants(_pid(channel)))


def _pid(channel: Channel) -> int:
    assert isinstance(channel, BubbleChannel)
    pid = channel.folder.pid()
    assert pid is not None
    return pid


FACTS = """
    import json, os, resource
    found = {}
    for name in ("memory/memory.limit_in_bytes", "memory/memory.memsw.limit_in_bytes", "memory.max", "memory.swap.max"):
        try: found[name] = open("/sys/fs/cgroup/" + name).read().strip()
        except OSError: pass
    status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines() if ":" in line)
    found |= {name: status[name].strip() for name in ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp")}
    found["mounts"] = sorted(line.split(" ", 1)[1] for line in open("/proc/self/mounts") if "cgroup" not in line)
    found["limits"] = {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource)
                       if name.startswith("RLIMIT_")}
    found["environment"] = sorted(os.environ)
    found["files"] = sorted(os.path.join(root, name) for top in ("/tmp", "/work")
                            for root, _, names in os.walk(top) for name in names)
    found["processes"] = sum(name.isdigit() for name in os.listdir("/proc"))
    print(json.dumps(found))
"""


async def facts(place: Place, channel: Channel) -> dict[str, Any]:
    """Return what a script finds out about its sandbox."""
    return dict(json.loads((await place.run(FACTS, channel=channel)).stdout))


async def test_warm_is_as_strict_as_cold(place: Place, tmp_path: Path) -> None:
    """A script sees the same in a warm sandbox whose limits were set when it was taken, and in a cold one."""
    pool = pool_of(place)
    channel = await place.open(**LIMITED)
    assert pool.waiting == (), "was not served warm"
    warm = await facts(place, channel)
    cold = bubble_sandboxes(tmp_path / "cold")
    spec = SandboxSpec(name=attempt_name(INSTALLATION, AttemptId(fresh_run_id(), 1)), **LIMITED)
    assert warm == await facts(place, await cold.open(spec))
    await cold.remove(spec.name)
    await cold.close()


async def test_a_taken_one_has_the_attempts_name(place: Place) -> None:
    """It is listed under it, its control group goes with it, and nothing of it has the old name."""
    pool = pool_of(place)
    await pool.fill()
    (warm,) = (waiting.name for waiting in pool._waiting)
    assert await pool.held() == ()
    spec = replace(place.spec(), name=attempt_name(INSTALLATION, AttemptId(fresh_run_id(), 1)))
    channel = await pool.open(spec)
    (held,) = await pool.held()
    assert (held.name, held.running) == (spec.name, True)
    assert pool._sandboxes._cgroup(channel.folder).name == warm  # type: ignore[attr-defined]
    await pool.remove(warm)  # the name of nothing
    assert (await Session.resume(channel, NOTHING)).phase == "waiting"
    await channel.close()
    await pool.remove(spec.name)
    assert await pool.held() == ()
    assert not {warm, spec.name} & pool._sandboxes._cgroups.names()  # type: ignore[attr-defined]


async def test_a_name_is_taken_once(place: Place) -> None:
    """A second sandbox of an attempt is refused, and the warm one that would have become it is gone."""
    pool = pool_of(place)
    spec = replace(place.spec(), name=attempt_name(INSTALLATION, AttemptId(fresh_run_id(), 1)))
    await pool.fill()
    channel = await pool.open(spec)
    await pool.fill()
    (second,) = (waiting.channel.folder for waiting in pool._waiting)
    with pytest.raises(AlreadyExists):
        await pool.open(spec)
    assert not second.path.exists()
    await channel.close()
    assert [held.name for held in await pool.held()] == [spec.name]
    await pool.remove(spec.name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give this machine an address")
async def test_one_whose_network_is_out_of_date_is_not_handed_out(tmp_path: Path) -> None:
    """The machine gets an address: what closes it to sandboxes is in none that waited."""
    pool = bubble_pool(tmp_path / "sandboxes", network="fastflow")
    spec = SandboxSpec(name=attempt_name(INSTALLATION, AttemptId(fresh_run_id(), 1)), network="fastflow")
    address = ("203.0.113.77/32", "dev", "lo")
    await pool.fill()
    (waiting,) = (waiting.channel.folder.name for waiting in pool._waiting)
    subprocess.run(["ip", "address", "add", *address], check=True)
    try:
        channel = await pool.open(spec)
        assert pool.waiting == ()
        assert pool._sandboxes._cgroup(channel.folder).name == spec.name  # type: ignore[attr-defined]
        assert waiting not in pool._sandboxes._cgroups.names()  # type: ignore[attr-defined]
        assert "203.0.113.77" in pool._sandboxes._networks_of[spec.name].rules  # type: ignore[attr-defined]
        await channel.close()
    finally:
        subprocess.run(["ip", "address", "del", *address], check=True)
        await pool.remove(spec.name)
        await pool.close()


async def test_one_that_died_while_warm_is_not_handed_out(place: Place) -> None:
    """The run gets a cold sandbox; the dead one is removed."""
    pool = pool_of(place)
    await pool.fill()
    (dead,) = (waiting.channel for waiting in pool._waiting)
    process = os.pidfd_open(_pid(dead))
    os.kill(_pid(dead), signal.SIGKILL)
    select.select((process,), (), ())  # the event loop has not heard of it
    os.close(process)
    transcript = await place.run("print('up')", channel=await pool.open(spec := place.spec()))
    assert transcript.stdout == b"up\n"
    assert not dead.folder.path.exists()
    await pool.remove(spec.name)


KEEPS = """
import asyncio, sys, time
from pathlib import Path
from tests.process.runner.sandbox.test_bubble_pool import INSTALLATION, bubble_pool
from fastflow_runner.sandbox import SandboxSpec
from fastflow_runner.sandbox.demand import WarmLimits
from fastflow_runner.sandbox.naming import AttemptId, attempt_name

async def main():
    pool = bubble_pool(Path(sys.argv[1]))
    await pool.fill()
    await pool.open(SandboxSpec(name=attempt_name(INSTALLATION, AttemptId(sys.argv[2], 1)), memory_bytes=134217728))
    await pool.fill()
    print("up", flush=True)
    time.sleep(600)

asyncio.run(main())
"""


async def test_a_killed_runner_leaves_its_warm_ones_to_the_next(tmp_path: Path) -> None:
    """The next one tells them from the one that a run has taken, which it can use and remove."""
    root, run = tmp_path / "sandboxes", fresh_run_id()
    with subprocess.Popen(
        [sys.executable, "-c", KEEPS, str(root), run], stdout=subprocess.PIPE, cwd=Path(__file__).parents[4]
    ) as runner:
        assert runner.stdout is not None
        assert await asyncio.to_thread(runner.stdout.readline) == b"up\n"
        runner.kill()
    sandboxes = bubble_sandboxes(root)
    held = {is_warm(each.name): each for each in await sandboxes.held()}
    assert {each.running for each in held.values()} == {True}
    assert {each.labels[LABEL_KEEPER] for each in held.values()} == {"test"}
    assert attempt_of(held[False].name) == AttemptId(run, 1)
    channel = await sandboxes.attach(held[False])
    place = Place(sandboxes, SandboxSpec(name=""))
    assert (await place.run("print('up')", channel=channel)).stdout == b"up\n"
    groups = {sandboxes._cgroup(channel.folder).name, held[True].name}
    for each in held.values():
        await sandboxes.remove(each.name)
    assert await sandboxes.held() == ()
    assert not groups & sandboxes._cgroups.names()
    await sandboxes.close()
