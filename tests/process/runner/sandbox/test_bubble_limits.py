"""Bounds of a bubble sandbox that hold without control groups, and what a script cannot take from its supervisor."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from fastflow_runner.sandbox import SandboxSpec
from fastflow_runner.sandbox.bubble.cgroups import Cgroups
from tests.process.runner.sandbox.test_bubble import bubble_sandboxes
from tests.sandbox_contract import Place

pytestmark = pytest.mark.bubble

MIB = 1024 * 1024
WITHOUT_RIGHTS = (
    *("unshare", "--mount", "sh", "-ec"),
    'umount --recursive --lazy /sys/fs/cgroup; exec setpriv --bounding-set=-sys_resource --inh-caps=-all "$@"',
    "sh",
)
"""Root as in a container: it sees no control groups, and may not change the limits of other processes."""
BOMBS = """
import asyncio, sys
from pathlib import Path
from fastflow_runner.sandbox import SandboxSpec
from tests.process.runner.sandbox.test_bubble import bubble_sandboxes
from tests.sandbox_contract import Place

BOMB = '''
import os, signal, time
children = []
try:
    while len(children) < 100:
        children.append(os.fork())
        if children[-1] == 0: signal.pause()
except OSError as error: print(error.errno, len(children))
time.sleep(1)  # the others are there at the same time
'''

async def main():
    sandboxes = bubble_sandboxes(Path(sys.argv[1]))
    print([each.partition(":")[0] for each in sandboxes.unenforced[:2]])
    place = Place(sandboxes, SandboxSpec(name="", processes_max=10))
    try:
        async with asyncio.TaskGroup() as group:
            bombs = [group.create_task(place.run(BOMB)) for _ in range(3)]
        print([bomb.result().stdout for bomb in bombs])
    finally:
        await place.clear()
        await sandboxes.close()

asyncio.run(main())
"""
NON_DUMPABLE = f"""
import ctypes, time
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # its smaps_rollup is root's now
hoard = bytearray({300 * MIB})
hoard[::4096] = b"x" * len(hoard[::4096])
time.sleep(60)
"""
FILL = f"""
import os, time
for folder in ("/tmp", "/work", "/dev/shm"):
    with open(folder + "/x", "wb") as file:
        for _ in range(50): file.write(bytes({MIB}))
time.sleep(60)
"""
EMPTY = """
import os, time
for number in range(100_000): os.mkdir(f"/tmp/{number}")
time.sleep(60)
"""


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    sandboxes = bubble_sandboxes(tmp_path / "sandboxes")
    place = Place(sandboxes, SandboxSpec(name=""))
    try:
        yield place
    finally:
        await place.clear()
        await sandboxes.close()


async def test_a_script_cannot_end_its_supervisor(place: Place) -> None:
    """It has the same user, but changes none of its limits, files and priorities, and no signal reaches it."""
    transcript = await place.run(
        """
        import os, resource, signal
        for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}: os.kill(1, number)
        for number in (signal.SIGKILL, signal.SIGSTOP): os.kill(1, number)
        attempts = [lambda limit=limit: resource.prlimit(1, limit, (0, 0)) for limit in range(16)]
        attempts += [
            lambda: os.sched_setaffinity(1, {min(os.sched_getaffinity(0))}),
            lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)),
            lambda: os.setpriority(os.PRIO_PROCESS, 1, 19),
            lambda: os.setpriority(os.PRIO_PGRP, 1, 19),
            lambda: os.setpriority(os.PRIO_USER, os.getuid(), 19),
            lambda: open("/proc/1/oom_score_adj", "w").write("1000"),
            lambda: open("/proc/1/mem", "rb").read(1),
            lambda: os.listdir("/proc/1/fd"),
            lambda: os.setpgid(1, 0),
        ]
        for number, attempt in enumerate(attempts):
            try: print(number, attempt())
            except OSError: pass
        print("still here")
        """
    )
    assert (transcript.stdout, transcript.stderr) == (b"still here\n", b"")
    assert transcript.exited.exit_code == 0


@pytest.fixture
async def watched(place: Place) -> Place:
    """A place where no kernel limits a sandbox."""
    place.sandboxes._cgroups = Cgroups({}, ())  # type: ignore[attr-defined]
    return place


async def test_a_lower_limit_of_the_runner_stays(watched: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its supervisor starts, and does not try to raise what it may not raise."""
    wrapper = Path(str(watched.sandboxes._root) + ".sh")  # type: ignore[attr-defined]
    launcher = watched.sandboxes._launcher  # type: ignore[attr-defined]
    wrapper.write_text(
        f'#!/bin/sh\nulimit -n 1000; ulimit -p 500 2>&- || ulimit -u 500\nexec {launcher.bubblewrap.path} "$@"\n'
    )
    wrapper.chmod(0o755)
    monkeypatch.setattr(
        watched.sandboxes,
        "_launcher",
        replace(
            launcher,
            bubblewrap=replace(
                launcher.bubblewrap, path=str(wrapper), files=(*launcher.bubblewrap.files, str(wrapper))
            ),
        ),
    )
    source = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(6))"
    transcript = await watched.run(source, channel=await watched.open(processes_max=600))
    assert transcript.stdout == b"(1000, 1000) (500, 500)\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up rights of root, and hide control groups")
def test_the_number_of_processes_has_a_limit_without_rights_too(tmp_path: Path) -> None:
    """The kernel counts the processes of a user in each sandbox apart, so that three of them do not share one bound."""
    told = subprocess.run(
        [*WITHOUT_RIGHTS, sys.executable, "-c", BOMBS, str(tmp_path / "sandboxes")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[4],
        timeout=120,
        check=False,
    )
    assert told.stderr == ""
    unenforced, bombs = told.stdout.splitlines()
    assert unenforced.startswith("['The memory limit is watched five times a second', 'The processor limit is not")
    assert bombs == str([b"11 8\n"] * 3)  # the supervisor and the script are two of ten


@pytest.mark.parametrize("source", [NON_DUMPABLE, FILL, EMPTY], ids=["not dumpable", "files", "empty files"])
async def test_memory_that_is_watched_counts_what_a_script_hides(watched: Place, source: str) -> None:
    """A process that cannot be read, files in each file system in memory, and what a file takes without content."""
    channel = await watched.open(tmp_bytes=200 * MIB, work_bytes=200 * MIB)
    transcript = await watched.run(source, channel=channel, memory_bytes=90 * MIB)
    assert transcript.stderr == b""
    assert (transcript.exited.oom, transcript.exited.exit_code) == (True, 137)


async def test_memory_that_is_watched_counts_shared_pages_once(watched: Place) -> None:
    """Processes that share what one of them has stay below a limit of little more."""
    source = """
        import os, time
        hoard = bytearray(60 * 1024 * 1024)
        hoard[::4096] = b"x" * len(hoard[::4096])
        children = [os.fork() for _ in range(3)]
        time.sleep(1)
        if all(children): print("done")
        """
    transcript = await watched.run(source, memory_bytes=150 * MIB)
    assert (transcript.stdout, transcript.exited.oom) == (b"done\n", False)
