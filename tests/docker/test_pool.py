"""Warm sandboxes against a real daemon: the contract, and that warm ones are as strict and clean as cold ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from aiodocker import Docker
from msgspec.structs import replace

from fastflow_runner.backend.backend import CORES_MIN
from fastflow_runner.guest.supervisor.frames import BEAT, mark, message
from fastflow_runner.sandbox import AlreadyExists, Channel, Held, SandboxError, SandboxSpec
from fastflow_runner.sandbox.demand import WarmLimits
from fastflow_runner.sandbox.docker.image import ensure_worker_image
from fastflow_runner.sandbox.docker.sandboxes import DockerChannel, DockerSandboxes
from fastflow_runner.sandbox.naming import LABEL_KEEPER, AttemptId, attempt_name
from fastflow_runner.sandbox.pool import Pool
from tests.sandbox_contract import Place, SandboxContract, listen
from tests.support.ids import fresh_run_id

pytestmark = pytest.mark.docker

INSTALLATION = "0123456789abcdef"
MIB = 1024 * 1024
LIMITED: dict[str, Any] = {"memory_bytes": 128 * MIB, "cpu_cores": 0.5}


class Warm:
    """A pool that is full before each ``open``, so it uses a warm sandbox whenever possible."""

    def __init__(self, pool: Pool, cold: DockerSandboxes) -> None:
        self.pool = pool
        self.cold = cold
        self.unenforced = pool.unenforced

    async def open(self, spec: SandboxSpec) -> Channel:
        await self.pool.fill()
        waiting = len(self.pool.waiting)
        channel = await self.pool.open(spec)
        if spec == SandboxSpec(name=spec.name, image=spec.image):
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


@asynccontextmanager
async def a_pool(image: str, *, scope: str, size_max: int = 2) -> AsyncIterator[Pool]:
    sandboxes = DockerSandboxes(scope=scope)
    blank = SandboxSpec(name="", image=image)
    pool = Pool(sandboxes, blank, installation=INSTALLATION, keeper={LABEL_KEEPER: "test"}, size_max=size_max)
    try:
        yield pool
    finally:
        await pool.close()


@pytest.fixture
async def image(docker: Docker) -> str:
    return await ensure_worker_image(docker, progress=lambda line: None)


@pytest.fixture
async def place(image: str) -> AsyncIterator[Place]:
    scope = f"test-{uuid4()}"
    async with a_pool(image, scope=scope) as pool:
        cold = DockerSandboxes(scope=scope)
        place = Place(Warm(pool, cold), SandboxSpec(name="", image=image))
        try:
            yield place
        finally:
            await place.clear()
            await cold.close()


class TestWarmSandbox(SandboxContract):
    async def kill(self, place: Place, channel: Channel) -> None:
        async with Docker() as docker:
            await docker.containers.container(place.name(channel)).kill()

    async def processes(self, place: Place, channel: Channel) -> int:
        async with Docker() as docker:
            return len((await docker.containers.container(place.name(channel)).top())["Processes"])


FACTS = """
    import json, os, resource, socket
    found = {}
    groups = {
        "v1": ("memory/memory.limit_in_bytes", "memory/memory.memsw.limit_in_bytes", "cpu/cpu.cfs_quota_us",
               "cpu/cpu.cfs_period_us", "pids/pids.max"),
        "v2": ("memory.max", "memory.swap.max", "cpu.max", "pids.max"),
    }
    for version, names in groups.items():
        for name in names:
            try: found[name] = open("/sys/fs/cgroup/" + name).read().strip()
            except OSError: pass
    status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines() if ":" in line)
    found |= {name: status[name].strip() for name in ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp")}
    found["uid"] = [os.getuid(), os.getgid()]
    found["mounts"] = sorted(line.split(" ", 1)[1] for line in open("/proc/self/mounts") if "cgroup" not in line
                             and not line.startswith("overlay"))
    found["limits"] = {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource)
                       if name.startswith("RLIMIT_")}
    found["environment"] = sorted(set(os.environ) - {"HOSTNAME"})
    found["interfaces"] = sorted(name for _, name in socket.if_nameindex())
    found["files"] = sorted(os.path.join(root, name) for top in ("/tmp", "/work", "/store")
                            for root, _, names in os.walk(top) for name in names)
    found["processes"] = sum(name.isdigit() for name in os.listdir("/proc"))
    print(json.dumps(found))
"""


async def facts(place: Place, channel: Channel) -> dict[str, Any]:
    """Return what a script finds out about its sandbox."""
    return dict(json.loads((await place.run(FACTS, channel=channel)).stdout))


@pytest.mark.promise("starts fast")
async def test_warm_is_as_strict_as_cold(place: Place) -> None:
    """A script sees the same limits, capabilities, mounts, rlimits, environment, files and processes in all sandboxes:
    warm with limits set when taken, warm with limits from the start, and cold.
    """
    warm = place.sandboxes
    assert isinstance(warm, Warm)
    set_late = await facts(place, await place.open(**LIMITED))
    await warm.pool.fill()
    assert warm.pool.waiting == (WarmLimits(**LIMITED),)
    set_early = await facts(place, await place.open(**LIMITED))
    cold = await facts(place, await warm.cold.open(place.spec(**LIMITED)))
    assert set_late == set_early == cold
    values = {str(value) for value in cold.values()}
    assert str(128 * MIB) in values, cold
    assert {"50000", "50000 100000"} & values


async def test_a_processor_limit_set_late_holds(place: Place) -> None:
    """With a limit of half a core, two busy processes get no more than that."""
    transcript = await place.run(
        """
        import os, time
        os.fork()
        began = time.monotonic()
        while time.monotonic() - began < 1.5: pass
        """,
        channel=await place.open(**LIMITED),
    )
    assert transcript.exited.cpu_s < 0.5 * 1.5 * 1.5


async def test_a_run_leaves_nothing_for_the_next(place: Place) -> None:
    """Files, settings, processes and input of a run are in its own container, which is removed: the next run finds a
    clean sandbox.
    """
    before = await facts(place, await place.open())
    first = await place.open()
    await place.run(
        """
        import os, pathlib, subprocess, sys
        assert os.environ["SECRET"] == "canary"
        for spot in ("/tmp/mark", "/work/mark", "/dev/shm/mark"): pathlib.Path(spot).write_text("canary")
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        """,
        channel=first,
        env={"SECRET": "canary"},
    )
    await place.sandboxes.remove(place.name(first))
    second = await place.open()
    assert first.token != second.token
    assert await facts(place, second) == before


async def test_a_warm_sandbox_that_died_is_replaced_by_a_cold_one(place: Place, docker: Docker) -> None:
    """The pool notices when a run takes it; the run starts anyway, under its own name."""
    warm = place.sandboxes
    assert isinstance(warm, Warm)
    await warm.pool.fill()
    (held,) = await warm.cold.held()
    container = docker.containers.container(held.name)
    await container.kill()
    await container.wait()
    spec = place.spec()
    channel = await warm.pool.open(spec)
    assert [held.name for held in await place.sandboxes.held()] == [spec.name]
    assert (await place.run("print('up')", channel=channel)).stdout == b"up\n"


async def test_limits_that_the_daemon_refuses_do_not_block_other_refills(image: str) -> None:
    """Runs with an impossible limit fail individually; the pool refills for the others."""
    async with a_pool(image, scope=f"test-{uuid4()}") as pool:
        for _ in range(3):
            await pool.fill()
            with pytest.raises(SandboxError, match="Minimum"):
                await pool.open(SandboxSpec(name=f"ff-test-{uuid4()}", image=image, memory_bytes=1))
        await pool.fill()
        assert set(pool.waiting) == {WarmLimits()}


async def test_the_daemon_accepts_the_smallest_processor_limit(image: str) -> None:
    """It refuses less."""
    spec = SandboxSpec(name=f"ff-test-{uuid4()}", image=image, cpu_cores=CORES_MIN)
    sandboxes = DockerSandboxes(scope=f"test-{uuid4()}")
    try:
        await (await sandboxes.open(spec)).close()
        await sandboxes.remove(spec.name)
        with pytest.raises(SandboxError):
            await sandboxes.open(replace(spec, cpu_cores=CORES_MIN / 2))
    finally:
        await sandboxes.close()


async def test_warm_sandboxes_get_heartbeats(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warm sandbox that would end without heartbeats still exists long after: the pool sends them."""
    monkeypatch.setattr("fastflow_runner.sandbox.pool.LOOK_S", 0.1)
    warm = place.sandboxes
    assert isinstance(warm, Warm)
    await warm.pool.fill()
    (waiting,) = warm.pool._waiting
    beginning = mark(waiting.channel.token)
    await waiting.channel.send(beginning + message(BEAT, dead_after_s=1.5))
    keeper = asyncio.create_task(warm.pool.keep())
    await asyncio.sleep(3)  # it must survive this time
    keeper.cancel()
    assert not waiting.channel.is_over
    assert len(warm.pool.waiting) == 1


async def test_close_removes_warm_sandboxes_but_not_running_ones(image: str) -> None:
    """Closing a pool removes its warm sandboxes and leaves those that a run has taken."""
    scope = f"test-{uuid4()}"
    async with a_pool(image, scope=scope) as pool:
        await pool.fill()
        spec = SandboxSpec(name=f"ff-test-{uuid4()}", image=image)
        channel = await pool.open(spec)
        await channel.close()
        await pool.fill()
        assert len(pool.waiting) == 1
    sandboxes = DockerSandboxes(scope=scope)
    assert [held.name for held in await sandboxes.held()] == [spec.name]
    await sandboxes.remove(spec.name)
    await sandboxes.close()


@pytest.mark.promise("nothing doubled")
async def test_two_runners_cannot_name_two_sandboxes_alike(image: str) -> None:
    """The pool sets the name last, and the daemon accepts it once, for a warm sandbox as for a cold one."""
    scope = f"test-{uuid4()}"
    name = attempt_name(INSTALLATION, AttemptId(fresh_run_id(), 1))
    async with a_pool(image, scope=scope) as one, a_pool(image, scope=scope) as other:
        await asyncio.gather(one.fill(), other.fill())
        spec = SandboxSpec(name=name, image=image)
        outcomes = await asyncio.gather(one.open(spec), other.open(spec), return_exceptions=True)
        (channel,) = (outcome for outcome in outcomes if isinstance(outcome, DockerChannel))
        assert [type(outcome) for outcome in outcomes if outcome is not channel] == [AlreadyExists]
        await channel.close()
        for held in await one.held():
            await one.remove(held.name)


async def test_many_takers_get_a_sandbox_each(place: Place) -> None:
    """With more takers than warm sandboxes, the others get cold ones. None share."""
    warm = place.sandboxes
    assert isinstance(warm, Warm)
    await warm.pool.fill()
    channels = await asyncio.gather(*(warm.pool.open(place.spec()) for _ in range(4)))
    assert len({channel.token for channel in channels}) == 4
    for number, channel in enumerate(channels):
        session, _ = await place.start(f"print({number})", channel=channel)
        assert (await listen(session)).stdout == b"%d\n" % number
        await channel.close()
