"""The control group of one sandbox, in version 1 or 2. I/O.

The calls are short, but the kernel may wait in them: call them in a thread. Only ``remove`` waits by itself.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from fastflow_runner.sandbox import Mount, SandboxError
from fastflow_runner.sandbox.bubble.cgroups.limits import Memory, processes, write, write_cores, write_processes

NEEDS: Final = {"memory": ("memory", "cpuacct"), "cpu": ("cpu",), "pids": ("pids",)}
"""The controllers of each limit in version 1: who watches a group's memory must also see its use of the processors."""

_MOUNTED_AT: Final = "/sys/fs/cgroup"
_REMOVE_S: Final = 10.0
_LOOK_S: Final = 0.002
_LOOK_S_MAX: Final = 0.1
_AGAIN: Final = "restart the runner, which then says what it cannot enforce."


class GroupPlace(NamedTuple):
    """Where the groups of sandboxes are made, for one controller."""

    folder: Path
    version: int


class Cgroup:
    """The group of one sandbox: a folder in each hierarchy that is used."""

    def __init__(self, name: str, places: Mapping[str, GroupPlace]) -> None:
        self.name = name
        self._versions = {controller: place.version for controller, place in places.items()}
        self._folders = {controller: place.folder / name for controller, place in places.items()}

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """What the supervisor reads its use from; nothing where the memory is not limited here."""
        if "memory" not in self._folders:
            return ()
        if self._versions["memory"] == 2:
            return (Mount(str(self._folders["memory"]), _MOUNTED_AT),)
        return tuple(Mount(str(self._folders[each]), f"{_MOUNTED_AT}/{each}") for each in NEEDS["memory"])

    @property
    def counts_processes(self) -> bool:
        """Whether the number of processes is limited here; else the supervisor limits its own."""
        return "pids" in self._folders

    def make(self, memory_bytes: int | None, cpu_cores: float | None, processes_max: int) -> None:
        """Make the group with its limits. Raises ``SandboxError``; then nothing is left of it."""
        try:
            for folder in self._all():
                with suppress(FileNotFoundError):
                    folder.rmdir()  # one that a killed runner left
                folder.mkdir()
            self._write(memory_bytes, cpu_cores)
            if "pids" in self._folders:
                write_processes(self._folders["pids"], processes_max)
        except OSError as error:
            for folder in self._all():
                with suppress(OSError):
                    folder.rmdir()
            raise SandboxError(f"its control group cannot be made: {said(error)}; {_AGAIN}") from error

    def join(self, pid: int) -> None:
        """Move a process that has not begun yet into the group. Raises ``SandboxError``."""
        try:
            for folder in self._all():
                write(folder / "cgroup.procs", pid)
        except OSError as error:
            raise SandboxError(f"it cannot join its control group: {said(error)}; {_AGAIN}") from error

    def limit(self, memory_bytes: int | None, cpu_cores: float | None) -> None:
        """Change the limits. Raises ``SandboxError``, also where more memory is in use."""
        try:
            self._write(memory_bytes, cpu_cores)
        except OSError as error:
            raise SandboxError(f"its limits cannot be changed: {said(error)}; {_AGAIN}") from error

    def oom_killed(self) -> bool:
        """Whether the kernel killed a process of it for lack of memory; False if the group is gone."""
        return "memory" in self._folders and self._memory().oom_kills() > 0

    def kill(self) -> None:
        """Kill all processes in the group, and let it have no more. They may take a moment to end."""
        for folder in self._all():
            with suppress(OSError):
                write(folder / "cgroup.kill", 1)
                return
        if "pids" in self._folders:
            with suppress(OSError):
                write_processes(self._folders["pids"], 0)
        for pid in processes(self._all()):
            _kill(pid, self.name)

    async def remove(self) -> None:
        """Kill what is in the group and remove it. Can be repeated. Raises ``SandboxError`` if processes do not end."""
        look_s, until = _LOOK_S, time.monotonic() + _REMOVE_S
        while not await asyncio.to_thread(self.try_remove):
            if time.monotonic() > until:
                left = ", ".join(map(str, sorted(processes(self._all())))) or "none that can be seen"
                raise SandboxError(f"the control group {self.name} does not become empty (processes: {left}).")
            await asyncio.sleep(look_s)
            look_s = min(2 * look_s, _LOOK_S_MAX)

    def try_remove(self) -> bool:
        """Kill what is in the group, and return whether the group is gone."""
        busy = False
        for folder in self._all():
            try:
                folder.rmdir()
            except OSError as error:
                busy |= error.errno in {errno.EBUSY, errno.EAGAIN}
        if busy:
            self.kill()
        return not busy

    def _write(self, memory_bytes: int | None, cpu_cores: float | None) -> None:
        if "memory" in self._folders:
            self._memory().write(memory_bytes)
        if "cpu" in self._folders:
            write_cores(self._folders["cpu"], self._versions["cpu"], cpu_cores)

    def _memory(self) -> Memory:
        return Memory(self._folders["memory"], self._versions["memory"])

    def _all(self) -> list[Path]:
        return list(dict.fromkeys(self._folders.values()))


def _kill(pid: int, name: str) -> None:
    """Kill a process if it is still in the group *name*: its number may be that of another by now."""
    with suppress(OSError):
        descriptor = os.pidfd_open(pid)
        try:
            groups = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
            if any(group.rpartition("/")[2] == name for group in groups):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)


def said(error: OSError) -> str:
    """Return what the kernel refused, and on which file."""
    return f"{error.strerror} ({error.filename})" if error.filename else str(error)
