"""The sandbox without a daemon: the contract, and the walls that bubblewrap makes."""

from __future__ import annotations

import asyncio
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from fastflow_runner.guest.supervisor.frames import ORPHANED_EXIT_CODE
from fastflow_runner.guest.supervisor.meters import descendants
from fastflow_runner.sandbox import Channel, Detached, SandboxSpec
from fastflow_runner.sandbox.bubble.cgroups import find_cgroups
from fastflow_runner.sandbox.bubble.folder import SandboxFolder
from fastflow_runner.sandbox.bubble.launch import Launcher
from fastflow_runner.sandbox.bubble.network import BubbleNetworks
from fastflow_runner.sandbox.bubble.sandboxes import BubbleSandboxes
from fastflow_runner.sandbox.bubble.stage import Stage
from fastflow_runner.sandbox.bubble.syscalls import program
from fastflow_runner.sandbox.bubble.system import system_view
from fastflow_runner.sandbox.bubble.tools import find_bubblewrap
from fastflow_runner.sandbox.events import Vanished
from fastflow_runner.sandbox.session import Session, Superseded
from tests.sandbox_contract import NOTHING, Place, SandboxContract, listen
from tests.sandbox_contract.place import LINES, lines

pytestmark = pytest.mark.bubble


def bubble_sandboxes(root: Path) -> BubbleSandboxes:
    launcher = Launcher(find_bubblewrap(), system_view(), Stage(), program())
    return BubbleSandboxes(root, launcher, BubbleNetworks(), find_cgroups())


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    sandboxes = bubble_sandboxes(tmp_path / "sandboxes")
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


STARTS = """
import asyncio, sys, time
from pathlib import Path
from fastflow_runner.sandbox.events import ScriptStarted
from tests.process.runner.sandbox.test_bubble import bubble_sandboxes
from fastflow_runner.sandbox import SandboxSpec
from tests.sandbox_contract import Place, listen

async def main():
    sandboxes = bubble_sandboxes(Path(sys.argv[1]))
    place = Place(sandboxes, SandboxSpec(name="", labels={"fastflow.run": "r1"}))
    session, channel = await place.start(sys.argv[2], argv=("{python}", "main.py"))
    await listen(session, until=lambda t: len(t.stdout) > 300_000, acknowledge=False)
    print("up", flush=True)
    time.sleep(600)  # it reads no more, as one that is stuck

asyncio.run(main())
"""


async def test_a_killed_runner_leaves_its_sandboxes_to_the_next(place: Place, tmp_path: Path) -> None:
    """Nothing of the output is lost or doubled, although the killed one stored none of what it read."""
    with subprocess.Popen(
        [sys.executable, "-c", STARTS, str(tmp_path / "sandboxes"), LINES.format(count=40_000)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[4],
    ) as runner:
        assert runner.stdout is not None
        assert await asyncio.to_thread(runner.stdout.readline) == b"up\n"
        runner.kill()
    (held,) = await place.sandboxes.held()
    assert (held.running, held.labels) == (True, {"fastflow.run": "r1"})
    channel = await place.sandboxes.attach(held)
    transcript = await listen(await Session.resume(channel, NOTHING))
    assert transcript.stdout == lines(40_000)
    assert transcript.exited.exit_code == 0
    await channel.close()
    await place.sandboxes.remove(held.name)
    assert await place.sandboxes.held() == ()


async def test_a_sandbox_outlives_its_bubblewrap(place: Place) -> None:
    """Nobody then knows the exit code of the sandbox; its script ends as ever, and the sandbox can be removed."""
    session, channel = await place.start("import time; print('up'); time.sleep(2); print('done')")
    transcript = await listen(session, until=lambda t: t.stdout == b"up\n")
    place.sandboxes._processes[place.name(channel)].kill()  # type: ignore[attr-defined]
    await listen(session, transcript)
    assert (transcript.stdout, transcript.exited.exit_code) == (b"up\ndone\n", 0)
    await channel.close()
    await place.sandboxes.remove(place.name(channel))
    assert await place.sandboxes.held() == ()


async def test_the_later_runner_wins(place: Place) -> None:
    """If a new runner attaches while an old one still listens, the sandbox answers the new one."""
    session, channel = await place.start("import time; print('up'); time.sleep(60)")
    old = await listen(session, until=lambda t: t.stdout == b"up\n")
    (held,) = await place.sandboxes.held()
    successor = await place.sandboxes.attach(held)
    resumed = await Session.resume(successor, old.offsets)
    assert resumed.phase == "running"
    with pytest.raises((Superseded, Detached)):
        await listen(session)
    await resumed.stop()
    assert (await listen(resumed)).exited.reason == "stopped"
    await channel.close()
    await successor.close()


async def test_an_ended_sandbox_keeps_its_outcome(place: Place) -> None:
    """A runner that starts after the end finds the sandbox, and how it ended."""
    session, channel = await place.start("import time; time.sleep(60)", dead_after_s=0.3)
    await listen(session)
    await channel.wait()
    (held,) = await place.sandboxes.held()
    assert not held.running
    session, channel = await place.again(channel, NOTHING)
    transcript = await listen(session)
    assert transcript.last == Vanished(exit_code=ORPHANED_EXIT_CODE, oom_killed=False)


async def test_a_sandbox_that_was_half_made_is_removed(place: Place, tmp_path: Path) -> None:
    """A runner that was killed before it stored what the sandbox is for leaves a folder, which the next one removes."""
    (tmp_path / "sandboxes" / "ff-half").mkdir(parents=True)
    assert await place.sandboxes.held() == ()
    assert not (tmp_path / "sandboxes" / "ff-half").exists()


@pytest.mark.parametrize("after_s", [0, 0.003, 0.01, 0.03, 0.1])
async def test_a_cancelled_open_leaves_nothing(place: Place, tmp_path: Path, after_s: float) -> None:
    """Neither a process nor a folder, whenever it comes."""
    spec = place.spec()
    opening = asyncio.create_task(place.sandboxes.open(spec))
    await asyncio.wait({opening}, timeout=after_s)
    opening.cancel()
    with suppress(asyncio.CancelledError):
        await (await opening).close()
        await place.sandboxes.remove(spec.name)
    assert await place.sandboxes.held() == ()
    assert not (tmp_path / "sandboxes" / spec.name).exists()


async def test_concurrent_removals_all_succeed(place: Place) -> None:
    """Each returns only after the sandbox is gone."""
    channel = await place.open()
    name = place.name(channel)

    async def remove() -> list[str]:
        await place.sandboxes.remove(name)
        return [held.name for held in await place.sandboxes.held()]

    for left in await asyncio.gather(*(remove() for _ in range(4))):
        assert name not in left
    await channel.close()


async def test_a_sandbox_has_walls(place: Place) -> None:
    """No capabilities, no new privileges, a read-only system, sized file systems, no network, bounded processes."""
    transcript = await place.run(
        """
        import json, os, resource, signal, socket
        status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
        found = {name: status[name].strip() for name in ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp")}
        found["uid"] = [os.getuid(), os.getgid(), os.getgroups()]
        found["written"] = []
        for path in ("/x", "/etc/x", "/usr/x", "/dev/x", "/opt/fastflow/x", "/proc/sys/kernel/hostname"):
            try: open(path, "w"); found["written"].append(path)
            except OSError: pass
        spots = {name: os.statvfs(name) for name in ("/tmp", "/work", "/dev/shm")}
        found["sizes"] = {name: spot.f_blocks * spot.f_frsize for name, spot in spots.items()}
        found["limits"] = [resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NOFILE)]
        found["interfaces"] = sorted(name for _, name in socket.if_nameindex())
        found["host"] = socket.gethostname(), socket.gethostbyname(socket.gethostname())
        found["top"] = sorted(os.listdir("/"))
        found["etc"] = [name for name in ("shadow", "ssh", "sudoers", "fstab") if os.path.exists("/etc/" + name)]
        found["descriptors"] = [os.readlink(f"/proc/1/fd/{n}") for n in range(64) if os.path.lexists(f"/proc/1/fd/{n}")]
        found["processes"] = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())[:1]
        found["env"] = sorted(os.environ)
        children = []
        try:
            while len(children) < 200:
                children.append(os.fork())
                if children[-1] == 0: signal.pause()
        except OSError as error: found["fork"] = error.errno
        found["children"] = len(children)
        print(json.dumps(found))
        """,
        channel=await place.open(processes_max=20, tmp_bytes=10_485_760, work_bytes=20_971_520),
    )
    assert transcript.stderr == b""
    found = json.loads(transcript.stdout)
    assert {found[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {"0" * 16}
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"
    assert found["uid"] == [65532, 65532, []]
    assert found["written"] == []
    assert found["sizes"] == {"/tmp": 10_485_760, "/work": 20_971_520, "/dev/shm": 10_485_760}
    assert found["limits"] == [[0, 0], [4096, 4096]]
    assert found["interfaces"] == ["lo"]
    assert found["host"] == ["sandbox", "127.0.0.1"]
    assert not {"home", "run", "var", "srv", "mnt", "media", "boot", "store"} & set(found["top"])
    assert found["etc"] == []
    assert found["descriptors"] == []
    assert found["processes"] == [1]
    assert not {"PWD", "FASTFLOW_ADMIN_TOKEN"} & set(found["env"])
    assert found["fork"] == 11
    assert found["children"] < 20


async def test_a_sandbox_ends_if_its_folder_is_deleted_after_its_job(place: Place, tmp_path: Path) -> None:
    """No runner can find it any more, so none would remove it."""
    session, channel = await place.start("print('done')")
    assert (await listen(session)).exited.exit_code == 0
    process = os.pidfd_open(_supervisor_pid(channel))
    shutil.rmtree(tmp_path / "sandboxes" / place.name(channel))
    ended = await asyncio.to_thread(select.select, (process,), (), (), 60)
    os.close(process)
    assert ended[0] == [process]
    await place.sandboxes.remove(place.name(channel))
    await channel.close()


async def test_no_sandbox_compiles_its_supervisor(place: Place) -> None:
    """Python finds it compiled, for just this version."""
    transcript = await place.run(
        """
        import importlib.util, os
        folder = "/opt/fastflow/supervisor"
        names = [name for name in os.listdir(folder) if name.endswith(".py")]
        found = [os.path.exists(importlib.util.cache_from_source(f"{folder}/{name}")) for name in names]
        print(len(names) > 5 and all(found))
        """
    )
    assert transcript.stdout == b"True\n"


async def test_a_full_disk_is_an_error_in_the_script(place: Place) -> None:
    """A write beyond the size of the file system raises OSError in the script; the run ends like any failing script."""
    transcript = await place.run(
        "open('big', 'wb').write(bytes(30_000_000))", channel=await place.open(work_bytes=20 * 1024 * 1024)
    )
    assert b"No space left on device" in transcript.stderr
    assert transcript.exited.exit_code == 1


async def test_the_supervisor_has_no_descriptor_that_it_was_started_with(place: Place) -> None:
    """Only its own pipes and file of complaints: a directory of the host among them would be a way out."""
    if os.geteuid() != 0:
        pytest.skip("only root sees the descriptors of a process that is not dumpable")
    channel = await place.open()
    session = await Session.resume(channel, NOTHING)
    assert session.phase == "waiting"
    folder = Path(f"/proc/{_supervisor_pid(channel)}/fd")
    host = {os.readlink(each) for each in folder.iterdir()}
    assert {name for name in host if name.startswith("/")} == {
        str(channel.folder.path / name)  # type: ignore[attr-defined]
        for name in ("in", "out", "said")
    }
    await channel.close()
