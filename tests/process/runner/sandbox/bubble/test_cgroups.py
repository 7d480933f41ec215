"""The limits of a sandbox, kept by this machine's own kernel for processes under the real bubblewrap."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from fastflow_runner.guest.supervisor import meters
from fastflow_runner.sandbox import SandboxError
from fastflow_runner.sandbox.bubble.cgroups import Cgroups, find_cgroups
from fastflow_runner.sandbox.bubble.cgroups import group as cgroup_module
from fastflow_runner.sandbox.bubble.cgroups.group import Cgroup, GroupPlace
from tests.support import bubblewrap

pytestmark = pytest.mark.usefixtures("bwrap")

MIB = 1024 * 1024
FOUND_S = 30.0
SPIN = "import time\nuntil = time.monotonic() + 1.5\nwhile time.monotonic() < until: pass\nprint(time.process_time())"
HOARD = "hoard = []\nwhile True: hoard.append(b'x' * 4_000_000)"
MEASURE = f"""
import subprocess, sys
from meters import CgroupMeter
def yield_first():
    open("/proc/self/oom_score_adj", "w").write("1000")
before = CgroupMeter()
assert before.usable and before.oom_kills() == 0
killed = subprocess.run([sys.executable, "-c", {HOARD!r}], preexec_fn=yield_first)
after = CgroupMeter()
print(killed.returncode, after.oom_kills(), after.memory_limit_bytes, after.cpu_s() > 0, after.memory_bytes() > 0)
"""

Make = Callable[..., Cgroup]


@pytest.fixture(scope="session")
def cgroups() -> Cgroups:
    """What this machine lets this user set: all of it, or the test is not here to judge."""
    if os.geteuid() != 0:
        pytest.skip("needs root, or a delegated control group")
    found = find_cgroups()
    if found.unenforced:
        (pytest.fail if os.environ.get("FASTFLOW_REQUIRE_DOCKER") == "1" else pytest.skip)(" ".join(found.unenforced))
    return found


@pytest.fixture
def make(cgroups: Cgroups) -> Iterator[Make]:
    made = list[Cgroup]()

    def _make(
        memory_bytes: int | None = 500 * MIB, cpu_cores: float | None = None, processes_max: int = 100, name: str = ""
    ) -> Cgroup:
        made.append(cgroups.make(name or f"ff-test-{uuid4()}", memory_bytes, cpu_cores, processes_max))
        return made[-1]

    yield _make
    for cgroup in made:
        asyncio.run(cgroup.remove())


def run(source: str, cgroup: Cgroup) -> tuple[str, str, int]:
    seen = {each.source: each.target for each in cgroup.mounts} | {meters.__file__: "/tmp/meters.py"}
    options = [word for source_and_target in seen.items() for word in ("--ro-bind", *source_and_target)]
    options = [*bubblewrap.INTERPRETER, *options]
    process = bubblewrap.start([sys.executable, "-c", source], joined=cgroup.join, options=options)
    stdout, stderr = process.communicate(timeout=120)
    return stdout, stderr, process.returncode


def test_too_much_memory_is_137_and_reported(make: Make) -> None:
    """The kernel kills process 1, and with it everything in the sandbox."""
    cgroup = make(memory_bytes=64 * MIB)
    assert not cgroup.oom_killed()
    assert run(HOARD, cgroup)[2] == 137
    assert cgroup.oom_killed()


def test_the_supervisor_survives_its_script_and_sees_why(make: Make) -> None:
    """The process that gives way is killed alone; the meters inside read the group's own files."""
    cgroup = make(memory_bytes=100 * MIB)
    stdout, stderr, code = run(MEASURE, cgroup)
    assert (stdout, code) == (f"-9 1 {100 * MIB} True True\n", 0), stderr
    assert cgroup.oom_killed()


def test_files_in_memory_count(make: Make) -> None:
    """A temporary file system does not hold what the sandbox may not."""
    source = "with open('/tmp/large', 'wb') as file:\n    while True: file.write(b'x' * 1_000_000); file.flush()"
    cgroup = make(memory_bytes=64 * MIB)
    assert run(source, cgroup)[2] == 137
    assert cgroup.oom_killed()


def test_the_meters_cannot_be_written_from_inside(make: Make) -> None:
    """No process takes itself out of its group or raises its limit."""
    cgroup = make()
    source = f"""
import errno, glob
for folder in {[each.target for each in cgroup.mounts]!r}:
    for file in glob.glob(folder + "/*"):
        try: open(file, "w").write("0")
        except OSError as error: assert error.errno in (errno.EROFS, errno.EACCES), (file, error)
        else: print(file)
print("done")
"""
    assert run(source, cgroup)[:2] == ("done\n", "")


def test_the_processor_is_throttled(make: Make) -> None:
    """A quarter of a core for a second and a half."""
    stdout, _, _ = run(SPIN, make(cpu_cores=0.25))
    assert float(stdout) < 0.8


def test_limits_change_while_it_runs(make: Make) -> None:
    """Up and down, and away, as the run needs that takes a warm sandbox."""
    cgroup = make(memory_bytes=64 * MIB, cpu_cores=0.1)
    for memory_bytes, cpu_cores in ((300 * MIB, 1.0), (32 * MIB, 0.5), (None, None), (64 * MIB, 2.0), (None, 0.25)):
        cgroup.limit(memory_bytes, cpu_cores)
    assert run("hoard = b'x' * 200_000_000; print(len(hoard))", cgroup)[0] == "200000000\n"
    cgroup.limit(100 * MIB, None)
    assert run(HOARD, cgroup)[2] == 137


def test_a_tiny_share_of_a_processor_is_the_smallest_that_there_is(make: Make) -> None:
    """The kernel refuses less than a millisecond."""
    cgroup = make(cpu_cores=0.000_1)
    cgroup.limit(64 * MIB, 4096.0)


def test_processes_and_threads_beyond_the_limit_are_refused(make: Make) -> None:
    """A fork bomb gets an error, and the sandbox lives."""
    source = """
import os, threading, time
count = 0
try:
    while True:
        if os.fork() == 0: time.sleep(60); os._exit(0)
        count += 1
except BlockingIOError: print(count)
try: threading.Thread(target=print).start()
except RuntimeError as error: print(error)
"""
    assert run(source, make(processes_max=10))[0] == "9\ncan't start new thread\n"


def test_all_of_it_is_killed_at_once(make: Make) -> None:
    """Processes that start others all the time too."""
    source = """
import os, signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("up", flush=True)
for _ in range(5): os.fork()
while True:
    if os.fork() == 0: os._exit(0)
"""
    cgroup = make(processes_max=60)
    argv = [sys.executable, "-c", source]
    process = bubblewrap.start(argv, joined=cgroup.join, options=bubblewrap.INTERPRETER)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    cgroup.kill()
    assert process.wait(timeout=60) == 137
    asyncio.run(cgroup.remove())
    process.communicate()


def test_removing_kills_too_and_can_be_repeated(cgroups: Cgroups, make: Make) -> None:
    """The group of a sandbox that still runs, then one that is gone."""
    cgroup = make()
    process = bubblewrap.start(["sleep", "600"], joined=cgroup.join)
    assert cgroup.name in cgroups.names()
    asyncio.run(cgroup.remove())
    assert process.wait(timeout=60) == 137
    process.communicate()
    asyncio.run(cgroup.remove())
    assert cgroup.name not in cgroups.names()
    assert not cgroup.oom_killed()
    cgroup.kill()


def test_only_processes_of_the_group_are_killed(make: Make) -> None:
    """Neighbours live, and so does the process that kills."""
    one, other = make(), make()
    processes = [bubblewrap.start(["sleep", "600"], joined=cgroup.join) for cgroup in (one, other)]
    one.kill()
    assert processes[0].wait(timeout=60) == 137
    assert processes[1].poll() is None
    other.kill()
    for process in processes:
        process.communicate()


def test_a_group_with_a_longer_name_is_another(make: Make) -> None:
    """A process number that was reused meanwhile: its process is in a group of which ours is the beginning."""
    name = f"ff-test-{uuid4()}"
    longer = make(name=f"{name}-2")
    with bubblewrap.start(["sleep", "600"], joined=longer.join) as process:
        pid = _only_process(longer)
        cgroup_module._kill(pid, name)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.3)
        cgroup_module._kill(pid, longer.name)
        assert process.wait(timeout=60) == 137


def test_the_next_runner_finds_what_a_killed_one_left(cgroups: Cgroups) -> None:
    """Its groups by their names: with processes, and empty. It kills, removes, and makes anew."""
    living, ended = (f"ff-test-{uuid4()}" for _ in range(2))
    source = f"""
import os, signal, subprocess
from fastflow_runner.sandbox.bubble.cgroups import find_cgroups
found = find_cgroups()
found.make({ended!r}, 10**8, 1.0, 10)
process = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)
found.make({living!r}, 10**8, 1.0, 10).join(process.pid)
print(process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL
    pid = int(killed.stdout)
    try:
        assert {living, ended} <= cgroups.names()
        asyncio.run(cgroups.make(ended, 10**8, None, 10).remove())
        found = cgroups.get(living, pid)
        found.limit(2 * 10**8, 0.5)
        asyncio.run(found.remove())
        assert not {living, ended} & cgroups.names()
    finally:
        for name in (living, ended):
            asyncio.run(cgroups.get(name).remove())


def test_a_runner_that_moved_finds_the_group_through_its_process(make: Make) -> None:
    """Another group of its own, as after a new login: the process knows where it is."""
    cgroup = make(memory_bytes=64 * MIB)
    moved = Cgroups({name: GroupPlace(Path("/nowhere"), place.version) for name, place in _places(cgroup).items()}, ())
    process = bubblewrap.start(["sleep", "600"], joined=cgroup.join)
    pid = _only_process(cgroup)
    assert moved.get(cgroup.name, pid).mounts == cgroup.mounts
    assert moved.get(cgroup.name).mounts != cgroup.mounts
    moved.get(cgroup.name, pid).kill()
    assert process.wait(timeout=60) == 137
    process.communicate()


async def test_three_hundred_groups_leave_nothing(cgroups: Cgroups) -> None:
    """Eight at a time, each with a process: no group, and no open file."""
    names, files = {f"ff-test-{uuid4()}" for _ in range(300)}, len(os.listdir("/proc/self/fd"))
    turns = asyncio.Semaphore(8)

    async def once(name: str) -> None:
        async with turns:
            cgroup = await asyncio.to_thread(cgroups.make, name, 10**8, 1.0, 10)
            process = await asyncio.create_subprocess_exec("sleep", "600")
            await asyncio.to_thread(cgroup.join, process.pid)
            await cgroup.remove()
            await process.wait()

    async with asyncio.TaskGroup() as tasks:
        for name in names:
            tasks.create_task(once(name))
    assert not cgroups.names() & names
    assert len(os.listdir("/proc/self/fd")) <= files + 8  # the loop's own


def test_a_limit_that_a_group_above_undercuts_is_no_error(make: Make) -> None:
    """In version 1 the kernel refuses more than the group above has, which holds all the same."""
    above = make(cpu_cores=0.25)
    places = {name: GroupPlace(place.folder / above.name, place.version) for name, place in _places(above).items()}
    below = Cgroup("ff-below", places)
    below.make(64 * MIB, 2.0, 10)
    try:
        assert float(run(SPIN, below)[0]) < 0.8
    finally:
        asyncio.run(below.remove())


def test_a_group_that_disappears_is_an_error_of_its_sandbox(cgroups: Cgroups, make: Make) -> None:
    """It does not run without its limits, and other sandboxes are not concerned."""
    cgroup = make()
    asyncio.run(cgroup.remove())
    with subprocess.Popen(["sleep", "60"]) as process:
        with pytest.raises(SandboxError, match=r"cannot join its control group: No such file .*restart the runner"):
            cgroup.join(process.pid)
        process.kill()
    with pytest.raises(SandboxError, match="its limits cannot be changed: No such file"):
        cgroup.limit(64 * MIB, None)
    make()


def test_a_process_that_ended_cannot_join(make: Make) -> None:
    """A killed bwrap is an error of its sandbox."""
    process = subprocess.Popen(["true"])
    process.wait()
    with pytest.raises(SandboxError, match="cannot join its control group: No such process"):
        make().join(process.pid)


def test_a_name_in_use_is_refused(make: Make) -> None:
    """And what is in the group goes on."""
    cgroup = make()
    process = bubblewrap.start(["sleep", "600"], joined=cgroup.join)
    with pytest.raises(SandboxError, match="cannot be made: Device or resource busy"):
        make(name=cgroup.name)
    assert process.poll() is None
    cgroup.kill()
    process.communicate()


def _places(cgroup: Cgroup) -> dict[str, GroupPlace]:
    return {name: GroupPlace(folder.parent, cgroup._versions[name]) for name, folder in cgroup._folders.items()}


def _only_process(cgroup: Cgroup) -> int:
    until = time.monotonic() + FOUND_S
    while time.monotonic() < until:
        found = (cgroup._folders["pids"] / "cgroup.procs").read_text().split()
        if found:
            return int(found[0])
    raise AssertionError("no process")
