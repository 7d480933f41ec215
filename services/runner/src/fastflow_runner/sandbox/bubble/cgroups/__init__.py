"""The limits of sandboxes: which of them this process may set, by control groups below its own. I/O.

What it may not set is named in ``unenforced``, found out by making a group. A limit that could be kept at the start and
cannot later is an error of that sandbox: it does not start without its limit.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from fastflow_runner.sandbox import USER, SandboxError
from fastflow_runner.sandbox.bubble.cgroups.group import NEEDS, Cgroup, GroupPlace, said
from fastflow_runner.sandbox.bubble.cgroups.limits import Memory
from fastflow_runner.sandbox.bubble.cgroups.tree import OwnGroup, delegated_folder, own_groups
from fastflow_runner.sandbox.bubble.stage import can_be
from fastflow_runner.sandbox.naming import PREFIX

CONTROLLERS: Final = frozenset({"memory", "cpu", "pids"})

_WITHOUT: Final = {
    "memory": (
        "The memory limit is watched five times a second: a script that grows faster exceeds it for a moment, and a "
        "hostile one for good, because files in memory that have no name are not counted"
    ),
    "cpu": "The processor limit is not enforced",
    "pids": "The number of processes is not limited",
}
_REMEDY: Final = "Run it as a service with Delegate=yes (deploy/systemd), or as root."
_REMEDY_V1: Final = (
    "Run it as root, or boot this machine with version 2 of control groups (systemd.unified_cgroup_hierarchy=1)."
)
"""In version 1 systemd delegates no controllers to ordinary users."""
_REMEDY_OF_ROOT: Final = (
    "Run it as a service with Delegate=yes (deploy/systemd); a container needs its control groups mounted read-write."
)
_TRIAL_PREFIX: Final = f"{PREFIX}limits-"
_TRIAL: Final = (64 * 1024 * 1024, 1.0, 16)
_TRIAL_END_S: Final = 5.0
_COUNT_S: Final = 30.0
_COUNT_TRIAL: Final = """
import ctypes, os, resource, signal, sys
libc, users = ctypes.CDLL(None), [int(word) for word in sys.argv[1:]]
for user in users:
    os.setgroups([]); os.setresgid(user, user, user); os.setresuid(user, user, user)
if os.fork() > 0:  # this process counts too where the kernel counts all of a user
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]) and 1)
if libc.unshare(0x10000000) != 0:  # a name space of users
    os._exit(1)
resource.setrlimit(resource.RLIMIT_NPROC, (2, 2))
first, code = os.fork(), 1
if first == 0:
    signal.pause()
try:
    if os.fork() == 0:
        os._exit(1)
except BlockingIOError:
    code = 0
os.kill(first, signal.SIGKILL)
os._exit(code)
"""


class Cgroups:
    """The groups of all sandboxes of this machine that are below the same group as this runner."""

    def __init__(self, places: Mapping[str, GroupPlace], unenforced: tuple[str, ...]) -> None:
        self.places = dict(places)
        self.unenforced = unenforced

    def make(self, name: str, memory_bytes: int | None, cpu_cores: float | None, processes_max: int) -> Cgroup:
        """Make the group of a sandbox. Raises ``SandboxError``."""
        cgroup = Cgroup(name, self.places)
        cgroup.make(memory_bytes, cpu_cores, processes_max)
        return cgroup

    def get(self, name: str, pid: int | None = None, made_in: Mapping[str, GroupPlace] | None = None) -> Cgroup:
        """Return the group of a sandbox that exists or did exist.

        Args:
            pid: A process of it: a runner that was in another group made its group elsewhere.
            made_in: Where it was made, as far as that is known.
        """
        places = {**self.places, **(made_in or {})}
        with suppress(OSError):
            for group in () if pid is None else _groups_of(str(pid)):
                for controller, place in tuple(places.items()):
                    is_its = controller in group.controllers if place.version == 1 else not group.controllers
                    if is_its and group.folder.name == name:
                        places[controller] = place._replace(folder=group.folder.parent)
        return Cgroup(name, places)

    def names(self) -> set[str]:
        """Return the names of all groups of sandboxes, those of other runners included."""
        found = set[str]()
        for place in self.places.values():
            with suppress(OSError):
                found |= {
                    each.name for each in place.folder.iterdir() if each.name.startswith(PREFIX) and each.is_dir()
                }
        return found


def find_cgroups() -> Cgroups:
    """Find out which limits this process may set. In version 2 it may move this process into a group of its own."""
    places, refused = dict[str, GroupPlace](), ""
    for own in _groups_of("self"):
        places |= {each: GroupPlace(own.folder, 1) for each in own.controllers}
        if own.controllers:
            continue
        try:
            available = frozenset((own.folder / "cgroup.controllers").read_text().split()) & CONTROLLERS
            if available:
                folder = delegated_folder(own, available)
                places |= {each: GroupPlace(folder, 2) for each in available}
        except OSError as error:
            is_shared = error.errno == errno.EBUSY
            refused = f"{own.folder} holds other processes too" if is_shared else said(error)
    return _tried(places, refused)


def _tried(places: Mapping[str, GroupPlace], refused: str) -> Cgroups:
    """Return the groups with those of *places* that work.

    Args:
        refused: Why version 2 has no place; empty if it has, or if this machine has no version 2.
    """
    usable, unenforced = dict[str, GroupPlace](), list[str]()
    for limit, without in _WITHOUT.items():
        needs = (limit,) if limit in places and places[limit].version == 2 else NEEDS[limit]
        missing = next((each for each in needs if each not in places), None)
        if missing is not None:
            reason = refused or f"no control group of this process has the controller {missing}"
        else:
            tried = {each: places[each] for each in needs}
            reason = _refusal(tried)
            usable |= {} if reason else tried
        if reason and not (limit == "pids" and _counts_user_processes()):
            version = next((places[each].version for each in needs if each in places), None)
            unenforced.append(f"{without} ({reason}). {_remedy(version)}")
    if "memory" in usable and _has_uncounted_swap(usable):
        unenforced.append(
            "Swap is not limited: this kernel does not count it. Boot it with swapaccount=1, or turn swap off."
        )
    return Cgroups(usable, tuple(unenforced))


def _remedy(version: int | None) -> str:
    """Say what helps this user, where a limit's controllers are in a *version*, or nowhere (None)."""
    if os.geteuid() == 0:
        return _REMEDY_OF_ROOT
    return _REMEDY_V1 if version == 1 else _REMEDY


def _refusal(places: Mapping[str, GroupPlace]) -> str:
    """Make a group, move a process into it and remove it; return why that does not work, or ""."""
    _sweep(places)
    cgroup = Cgroup(f"{_TRIAL_PREFIX}{os.getpid()}", places)
    try:
        cgroup.make(*_TRIAL)
    except SandboxError as error:
        return _cause(error)
    waits = (sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()")  # until this process has ended
    with subprocess.Popen(waits, stdin=subprocess.PIPE) as process:
        try:
            cgroup.join(process.pid)
        except SandboxError as error:
            return _cause(error)
        finally:
            process.kill()
            process.wait()
            until = time.monotonic() + _TRIAL_END_S
            while not cgroup.try_remove() and time.monotonic() < until:
                time.sleep(0.002)
    return ""


def _sweep(places: Mapping[str, GroupPlace]) -> None:
    """Remove what runners that were killed in the middle of a trial left. Their process ids are in the names."""
    for folder in {place.folder for place in places.values()}:
        for left in folder.glob(f"{_TRIAL_PREFIX}*"):
            if not Path("/proc", left.name.removeprefix(_TRIAL_PREFIX)).exists():
                with suppress(OSError):
                    left.rmdir()


def _has_uncounted_swap(places: Mapping[str, GroupPlace]) -> bool:
    is_counted = Memory(places["memory"].folder, places["memory"].version).counts_swap()
    with suppress(OSError):
        return not is_counted and len(Path("/proc/swaps").read_text().splitlines()) > 1
    return False


def _groups_of(process: str) -> list[OwnGroup]:
    """Return the groups of a process as this one reaches them."""
    with suppress(OSError):
        return own_groups(Path(f"/proc/{process}/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())
    return []


def _counts_user_processes() -> bool:
    """Whether the kernel counts the processes of a user in each name space of users by itself: Linux from 5.14 on."""
    user = (str(USER),) if can_be(USER) else ()
    trial = (sys.executable, "-I", "-S", "-c", _COUNT_TRIAL, *user)
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(trial, stderr=subprocess.DEVNULL, timeout=_COUNT_S, check=False).returncode == 0
    return False


def _cause(error: SandboxError) -> str:
    """Return what the kernel refused. The group that was tried is gone; its place is what the operator can look at."""
    cause = error.__cause__
    if not isinstance(cause, OSError) or cause.filename is None:
        return str(cause or error)
    file = Path(cause.filename)
    place = file.parent if file.name.startswith(PREFIX) else file.parent.parent
    if cause.errno == errno.EINVAL and file.name == "cgroup.procs":
        return f"{place} takes no process with real-time priority"
    return f"{cause.strerror}: {place}"
