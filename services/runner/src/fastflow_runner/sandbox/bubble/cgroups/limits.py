"""The files of a control group that hold its limits, in both versions. I/O on one group at a time."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

_PERIOD_US: Final = 100_000
"""Of the processor limit, as Docker has it."""
_QUOTA_US_MIN: Final = 1000
_PROCESSES_MAX: Final = 4_000_000
"""The kernel's own bound on process ids."""


class Memory:
    """The memory limit, swap included."""

    def __init__(self, folder: Path, version: int) -> None:
        self._folder = folder
        self._is_v2 = version == 2

    def write(self, memory_bytes: int | None) -> None:
        """Set the limit; None: no limit. Raises ``OSError``: EBUSY if more is in use and cannot be freed."""
        if self._is_v2:
            write(self._folder / "memory.max", "max" if memory_bytes is None else memory_bytes)
            with suppress(FileNotFoundError):  # a kernel that does not count swap
                write(self._folder / "memory.swap.max", "max" if memory_bytes is None else 0)
            return
        value = -1 if memory_bytes is None else memory_bytes
        memory, with_swap = (self._folder / f"memory.{each}limit_in_bytes" for each in ("", "memsw."))
        if not with_swap.exists():
            write(memory, value)
            return
        try:
            write(memory, value)
            write(with_swap, value)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            write(with_swap, value)  # never below the other: the larger one goes first
            write(memory, value)

    def counts_swap(self) -> bool:
        return (self._folder / ("memory.swap.max" if self._is_v2 else "memory.memsw.limit_in_bytes")).exists()

    def oom_kills(self) -> int:
        """Return how many processes the kernel killed because the group was at its limit; 0 if it is gone."""
        with suppress(OSError):
            text = (self._folder / ("memory.events" if self._is_v2 else "memory.oom_control")).read_text()
            for line in text.splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
        return 0


def write_cores(folder: Path, version: int, cpu_cores: float | None) -> None:
    """Set the processor limit; None: no limit. Raises ``OSError``."""
    quota_us = None if cpu_cores is None else max(_QUOTA_US_MIN, round(cpu_cores * _PERIOD_US))
    if version == 2:
        write(folder / "cpu.max", f"{'max' if quota_us is None else quota_us} {_PERIOD_US}")
        return
    write(folder / "cpu.cfs_period_us", _PERIOD_US)
    try:
        write(folder / "cpu.cfs_quota_us", -1 if quota_us is None else quota_us)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        write(folder / "cpu.cfs_quota_us", -1)  # a group above has less, which then holds for this one


def write_processes(folder: Path, processes_max: int) -> None:
    """Set the number of processes and threads. Raises ``OSError``."""
    write(folder / "pids.max", min(processes_max, _PROCESSES_MAX))


def processes(folders: Iterable[Path]) -> set[int]:
    """Return the processes in groups, as far as they have a number here."""
    found = set[int]()
    for folder in folders:
        with suppress(OSError):
            # 0 stands for a process of another namespace, and for ``kill`` it would be all of ours.
            found |= {int(line) for line in (folder / "cgroup.procs").read_text().split()} - {0}
    return found


def write(file: Path, value: object) -> None:
    """Write to a file that exists; no other is made. Raises ``OSError`` that names the file."""
    try:
        with file.open("r+") as opened:
            opened.write(str(value))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from None
