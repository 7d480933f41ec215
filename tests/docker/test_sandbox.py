"""The Docker backend against a real daemon: the contract, and the isolation that only a container has."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import uuid4

import pytest
from aiodocker import Docker

from fastflow_runner.guest.supervisor.frames import ORPHANED_EXIT_CODE
from fastflow_runner.sandbox import (
    Channel,
    DaemonUnreachable,
    Detached,
    ImageMissing,
    SandboxError,
    SandboxSpec,
)
from fastflow_runner.sandbox.docker.image import ensure_worker_image
from fastflow_runner.sandbox.docker.sandboxes import DockerSandboxes
from fastflow_runner.sandbox.events import Exited, Vanished
from fastflow_runner.sandbox.session import Session, Superseded
from tests.sandbox_contract import NOTHING, Place, SandboxContract, listen

pytestmark = pytest.mark.docker

MEMORY_BYTES = 128 * 1024 * 1024


@pytest.fixture
async def place(docker: Docker) -> AsyncIterator[Place]:
    image = await ensure_worker_image(docker, progress=lambda line: None)
    sandboxes = DockerSandboxes(scope=f"test-{uuid4()}")
    place = Place(sandboxes, SandboxSpec(name="", image=image))
    try:
        yield place
    finally:
        await place.clear()
        await sandboxes.close()


class TestDockerSandbox(SandboxContract):
    async def kill(self, place: Place, channel: Channel) -> None:
        async with Docker() as docker:
            await docker.containers.container(place.name(channel)).kill()

    async def processes(self, place: Place, channel: Channel) -> int:
        async with Docker() as docker:
            return len((await docker.containers.container(place.name(channel)).top())["Processes"])


async def test_a_script_cannot_reach_the_supervisor(place: Place) -> None:
    """Neither /proc nor signals nor a debugger give a script the supervisor's descriptors, environment or life."""
    transcript = await place.run(
        """
        import ctypes, os, signal, sys
        for path in ("/proc/1/fd/0", "/proc/1/fd/1", "/proc/1/fd/2", f"/proc/{os.getppid()}/fd/1", "/proc/1/mem"):
            for flags in (os.O_RDONLY, os.O_WRONLY):
                try: os.write(os.open(path, flags), b"X" * 64); print("opened", path)
                except OSError: pass
        for path in ("/proc/1/environ", "/proc/1/maps"):
            try: open(path, "rb").read(); print("read", path)
            except OSError: pass
        for number in (signal.SIGSTOP, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGSEGV):
            os.kill(1, number)
        PTRACE_ATTACH = 16
        print("ptrace", ctypes.CDLL(None).ptrace(PTRACE_ATTACH, 1, 0, 0))
        sys.exit(11)
        """
    )
    assert transcript.stdout == b"ptrace -1\n"
    assert (transcript.exited.exit_code, transcript.exited.reason) == (11, "exited")


@pytest.mark.promise("secrets")
async def test_secrets_do_not_show_outside(place: Place, docker: Docker) -> None:
    """A script's environment and files are neither in docker inspect nor in its command line."""
    canary = "canary-7f3a"
    session, channel = await place.start(
        "import os, time; print(os.environ['SECRET']); time.sleep(60)", env={"SECRET": canary}
    )
    await listen(session, until=lambda t: canary.encode() in t.stdout)
    container = docker.containers.container(place.name(channel))
    assert canary not in json.dumps(await container.show())
    assert canary not in json.dumps(await container.top(ps_args="auxwwww"))
    await channel.close()


@pytest.mark.promise("isolated")
async def test_a_sandbox_is_isolated(place: Place) -> None:
    """No capabilities, no new privileges, read-only root, sized tmpfs, no network, bounded processes, no core files."""
    transcript = await place.run(
        """
        import json, os, resource, socket
        status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
        found = {name: status[name].strip() for name in ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp")}
        found["uid"] = [os.getuid(), os.getgid()]
        try: open("/etc/x", "w"); found["root"] = "writable"
        except OSError as error: found["root"] = error.errno
        found["tmp"] = os.statvfs("/tmp").f_blocks * os.statvfs("/tmp").f_frsize
        found["core"] = resource.getrlimit(resource.RLIMIT_CORE)
        found["interfaces"] = sorted(name for _, name in socket.if_nameindex())
        import signal
        children = []
        try:
            while len(children) < 200:
                children.append(os.fork())
                if children[-1] == 0: signal.pause()
        except OSError as error: found["fork"] = error.errno
        found["children"] = len(children)
        print(json.dumps(found))
        """,
        channel=await place.open(processes_max=20, tmp_bytes=10_485_760),
    )
    found = json.loads(transcript.stdout)
    assert {found[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {"0" * 16}
    assert found["NoNewPrivs"] == "1"
    assert found["uid"] == [65532, 65532]
    assert found["root"] in (13, 30)
    assert found["tmp"] == 10_485_760
    assert found["core"] == [0, 0]
    assert found["interfaces"] == ["lo"]
    assert found["fork"] == 11
    assert found["children"] < 20


async def test_a_full_disk_is_an_error_in_the_script(place: Place) -> None:
    """A write beyond the size of the tmpfs raises OSError in the script; the run ends like any failing script."""
    transcript = await place.run(
        "open('big', 'wb').write(bytes(30_000_000))", channel=await place.open(work_bytes=20 * 1024 * 1024)
    )
    assert b"No space left on device" in transcript.stderr
    assert transcript.exited.exit_code == 1


async def test_runs_do_not_see_each_other(place: Place, docker: Docker) -> None:
    """Two containers on the network of runs cannot talk."""
    network = f"ff-test-{uuid4()}"
    try:
        listener, channel = await place.start(
            """
            import socket
            server = socket.create_server(("0.0.0.0", 7000))
            print(socket.gethostbyname(socket.gethostname()))
            server.accept()
            """,
            channel=await place.open(network=network),
        )
        heard = await listen(listener, until=lambda t: t.stdout.endswith(b"\n"))
        address = heard.stdout.decode().strip()
        transcript = await place.run(
            f"import socket; socket.create_connection(({address!r}, 7000), timeout=1)",
            channel=await place.open(network=network),
        )
        assert transcript.exited.exit_code == 1
        assert transcript.stderr.strip().endswith(b"timed out")
        await channel.close()
    finally:
        await place.clear()
        await (await docker.networks.get(network)).delete()


async def test_the_later_runner_wins(place: Place) -> None:
    """If a new runner attaches while an old one still listens, the old one gets ``Superseded``."""
    session, channel = await place.start("import time; print('up'); time.sleep(60)")
    old = await listen(session, until=lambda t: t.stdout == b"up\n")
    (held,) = await place.sandboxes.held()
    successor = await place.sandboxes.attach(held)
    resumed = await Session.resume(successor, old.offsets)
    assert resumed.phase == "running"
    with pytest.raises(Superseded):
        await listen(session)
    await resumed.stop()
    assert (await listen(resumed)).exited.reason == "stopped"
    await channel.close()
    await successor.close()


@pytest.mark.promise("nothing lost")
async def test_an_ended_sandbox_keeps_its_outcome(place: Place) -> None:
    """A runner that starts after the end finds the sandbox, and gets Docker's state of it."""
    session, channel = await place.start("import time; time.sleep(60)", dead_after_s=0.3)
    await listen(session)
    await channel.wait()
    (held,) = await place.sandboxes.held()
    assert not held.running
    session, channel = await place.again(channel, NOTHING)
    transcript = await listen(session)
    assert transcript.last == Vanished(exit_code=ORPHANED_EXIT_CODE, oom_killed=False)


async def test_a_lost_connection_is_not_an_end(place: Place) -> None:
    """If the stream breaks while the container runs, the channel raises ``Detached``."""
    session, channel = await place.start("import time; print('up'); time.sleep(60)")
    transcript = await listen(session, until=lambda t: t.stdout == b"up\n")
    channel._stream._writer.transport.abort()  # type: ignore[attr-defined]
    with pytest.raises(Detached):
        await listen(session, transcript)
    session, channel = await place.again(channel, transcript.offsets)
    assert session.phase == "running"
    await channel.close()


async def test_an_image_is_never_pulled(place: Place) -> None:
    """A missing image raises ``ImageMissing`` at once; no sandbox remains."""
    with pytest.raises(ImageMissing):
        await place.open(image="fastflow-no-such-image:1")
    assert await place.sandboxes.held() == ()


async def test_a_sandbox_that_does_not_start_is_removed(place: Place, docker: Docker) -> None:
    """If the daemon creates but cannot start it, the name is free again; a lost network is created again."""
    network = f"ff-test-{uuid4()}"
    try:
        await (await place.open(network=network)).close()
        await place.clear()
        await (await docker.networks.get(network)).delete()
        with pytest.raises(SandboxError, match=network):
            await place.open(network=network)
        assert await place.sandboxes.held() == ()
        await (await place.open(network=network)).close()
    finally:
        await place.clear()
        await (await docker.networks.get(network)).delete()


async def test_files_in_tmp_count_as_memory(place: Place) -> None:
    """If files in /tmp alone exceed the limit, the run still learns that memory was the reason."""
    session, channel = await place.start(
        """
        with open("/tmp/big", "wb") as big:
            while True: big.write(bytes(1_000_000))
        """,
        channel=await place.open(memory_bytes=64 * 1024 * 1024),
    )
    last = (await listen(session)).last
    told = last.oom if isinstance(last, Exited) else isinstance(last, Vanished) and last.oom_killed
    assert told, last
    await channel.close()


async def test_a_missing_daemon_is_unreachable() -> None:
    """Without a daemon, every call raises ``DaemonUnreachable``."""
    sandboxes = DockerSandboxes(scope="test", url="unix:///nonexistent/docker.sock")
    with pytest.raises(DaemonUnreachable):
        await sandboxes.held()
    with pytest.raises(DaemonUnreachable):
        await sandboxes.open(SandboxSpec(name="ff-test-none", image="x"))
    await sandboxes.close()


@pytest.mark.promise("explains itself")
async def test_the_kernel_kills_for_memory_and_docker_reports_it(place: Place) -> None:
    """If the kernel kills a child for memory, the script keeps its own exit code, and ``Exited.oom`` is set."""
    transcript = await place.run(
        """
        import subprocess, sys
        code = "hoard = bytearray(1 << 30)\\nfor at in range(0, 1 << 30, 4096): hoard[at] = 1"
        sys.exit(40 - subprocess.run([sys.executable, "-c", code]).returncode)
        """,
        channel=await place.open(memory_bytes=MEMORY_BYTES),
    )
    assert (transcript.exited.exit_code, transcript.exited.oom) == (49, True)


@pytest.mark.parametrize("after_s", [0, 0.003, 0.01, 0.03, 0.1, 0.2])
async def test_a_cancelled_open_leaves_nothing_after_removal(place: Place, after_s: float) -> None:
    """The daemon creates the container even if the caller no longer waits for the answer."""
    spec = place.spec()
    opening = asyncio.create_task(place.sandboxes.open(spec))
    await asyncio.wait({opening}, timeout=after_s)
    opening.cancel()
    with suppress(asyncio.CancelledError):
        await (await opening).close()
    await place.sandboxes.remove(spec.name)
    async with asyncio.timeout(10), Docker() as docker:
        # Once the daemon has created another one, all earlier calls are done.
        await (await place.open()).close()
        shown = await docker.containers.list(all=True, filters=json.dumps({"name": [spec.name]}))
    assert [container["State"] for container in shown if container["State"] != "removing"] == []


async def test_concurrent_removals_all_succeed(place: Place) -> None:
    """The daemon refuses all but the first call until that is done; ``remove`` returns only afterwards."""
    for _ in range(3):
        channel = await place.open()
        name = place.name(channel)

        async def remove(name: str = name) -> list[str]:
            await place.sandboxes.remove(name)
            return [held.name for held in await place.sandboxes.held()]

        for left in await asyncio.gather(*(remove() for _ in range(4))):
            assert name not in left
        await channel.close()
