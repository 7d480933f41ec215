"""The sandbox of the embedded mode: the contract, and what only plain processes have."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fastflow_runner.guest.supervisor.frames import ORPHANED_EXIT_CODE
from fastflow_runner.guest.supervisor.meters import descendants
from fastflow_runner.sandbox import Channel, SandboxSpec
from fastflow_runner.sandbox.folders import FileLost
from fastflow_runner.sandbox.process import ProcessSandboxes
from fastflow_runner.sandbox.session import Session
from tests.sandbox_contract import NOTHING, Place, SandboxContract, listen
from tests.sandbox_contract.folders import ended, read


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    sandboxes = ProcessSandboxes(tmp_path / "sandboxes")
    place = Place(sandboxes, SandboxSpec(name=""))
    try:
        yield place
    finally:
        await place.clear()
        await sandboxes.close()


class TestProcessSandbox(SandboxContract):
    async def kill(self, place: Place, channel: Channel) -> None:
        os.kill(_supervisor_pid(place, channel), signal.SIGKILL)

    async def processes(self, place: Place, channel: Channel) -> int:
        return 1 + len(descendants(_supervisor_pid(place, channel)))


async def test_waiting_costs_nothing(place: Place) -> None:
    """A supervisor without a job sleeps without a timer: it is not scheduled once."""
    channel = await place.open()
    session = await Session.resume(channel, NOTHING)
    assert session.phase == "waiting"
    pid = _supervisor_pid(place, channel)
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        await asyncio.sleep(0)
    before = _wakeups(pid)
    await asyncio.sleep(1.2)  # the measurement itself, not a wait for something
    assert _wakeups(pid) == before
    await channel.close()


async def test_the_runner_s_death_ends_the_sandbox(place: Place, tmp_path: Path) -> None:
    """When the runner's end of the pipe closes, script and supervisor end; the next runner removes the directory."""
    session, channel = await place.start("import time; print('up'); time.sleep(60)")
    await listen(session, until=lambda t: t.stdout == b"up\n")
    (sandbox,) = place.sandboxes._sandboxes.values()  # type: ignore[attr-defined]
    sandbox.process.stdin.close()
    transcript = await listen(session)
    assert transcript.exited.reason == "orphaned"
    assert (await channel.wait()).exit_code == ORPHANED_EXIT_CODE
    assert sandbox.directory.exists()

    successor = ProcessSandboxes(tmp_path / "sandboxes")
    assert await successor.held() == ()
    assert not sandbox.directory.exists()


async def test_a_living_sandbox_is_not_swept(place: Place, tmp_path: Path) -> None:
    """A directory with a living supervisor is left alone, whichever runner sweeps."""
    await place.open()
    (sandbox,) = place.sandboxes._sandboxes.values()  # type: ignore[attr-defined]
    await ProcessSandboxes(tmp_path / "sandboxes").held()
    assert sandbox.directory.exists()


async def test_removing_kills_the_whole_tree(place: Place) -> None:
    """No process of a removed sandbox is left, nor its directory."""
    session, channel = await place.start(
        """
        import os, subprocess, time
        subprocess.Popen(["sleep", "60"], start_new_session=True)
        print(os.getpid())
        time.sleep(60)
        """
    )
    transcript = await listen(session, until=lambda t: t.stdout.endswith(b"\n"))
    pid = _supervisor_pid(place, channel)
    tree = [pid, *descendants(pid)]
    assert int(transcript.stdout) in tree
    assert len(tree) == 3
    (sandbox,) = place.sandboxes._sandboxes.values()  # type: ignore[attr-defined]
    await place.sandboxes.remove(place.name(channel))
    assert [pid for pid in tree if Path(f"/proc/{pid}").exists()] == []
    assert not sandbox.directory.exists()


def _supervisor_pid(place: Place, channel: Channel) -> int:
    pid: int = place.sandboxes._sandboxes[place.name(channel)].process.pid  # type: ignore[attr-defined]
    return pid


def _wakeups(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in status if "ctxt_switches" in line)


@pytest.mark.parametrize("change", ["grow", "vanish", "link"])
async def test_a_file_that_changes_after_the_end_is_lost_alone(place: Place, change: str) -> None:
    """It grows, vanishes or becomes a link while it is fetched; the next file is whole."""
    session, channel, exited = await ended(place, "[open(n, 'w').write('x' * 3_000_000) for n in ('a', 'b')]")
    (sandbox,) = place.sandboxes._sandboxes.values()  # type: ignore[attr-defined]
    path = sandbox.directory / "work" / ".folders" / "out" / "a"
    if change == "grow":
        path.write_bytes(path.read_bytes() + b"x")
    else:
        path.unlink()
    if change == "link":
        path.symlink_to("b")
    with pytest.raises(FileLost):
        await read(session, exited, 0)
    assert await read(session, exited, 1) == b"x" * 3_000_000
    await channel.close()
