"""Measure what a job uses: through its container's cgroup, or through its process tree in /proc.

Standard library only.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

FOLDERS = ("/tmp", "/work", "/dev/shm")  # noqa: S108 - the sandbox's own
"""The file systems in memory of a sandbox."""

INODE_BYTES = 1024
"""What a file takes in the kernel besides its content."""


class Usage:
    """What the job has used so far, measured by the meter that fits its sandbox."""

    def __init__(self) -> None:
        self.reaped_cpu_s = 0.0
        """Processor time of all ended processes."""
        self.memory_peak_bytes = 0
        self.files_bytes = 0
        """Memory that files held at the end of the job; 0 where files are not in memory."""
        self._meter: CgroupMeter | ProcessTree | None = None
        self._cpu_s = 0.0
        self._sampled_at = 0.0
        self._oom_kills = 0
        self._was_too_large = False

    @property
    def needs_watching(self) -> bool:
        """Whether the memory limit must be watched here, because no kernel enforces it."""
        return isinstance(self._meter, ProcessTree) and self._meter.memory_limit_bytes is not None

    def begin(self, *, has_container: bool, memory_bytes: int | None) -> None:
        """Choose the meter before the script starts.

        Args:
            memory_bytes: The memory limit to use where no cgroup has one.
        """
        cgroup = CgroupMeter() if has_container else None
        if cgroup is not None and cgroup.usable:
            self._meter = cgroup
        else:
            folders = [each for each in FOLDERS if os.path.ismount(each)] if has_container else []
            self._meter = ProcessTree(self, memory_bytes, folders)
        self._oom_kills = self._meter.oom_kills()
        self._cpu_s = self._meter.cpu_s()

    def start(self, now: float) -> None:
        """Note that the script has started: the first sample counts from here."""
        self._sampled_at = now

    def add_reaped(self, cpu_s: float, memory_peak_bytes: int) -> None:
        """Note that a process of the job has ended."""
        self.reaped_cpu_s += cpu_s
        self.memory_peak_bytes = max(self.memory_peak_bytes, memory_peak_bytes)

    def sample(self, now: float) -> dict[str, Any]:
        """Return the payload of a SAMPLE: cores since the previous one, memory now and at its peak."""
        assert self._meter is not None
        cpu_s, since_s = self._meter.cpu_s(), max(1e-3, now - self._sampled_at)
        cores = max(0.0, cpu_s - self._cpu_s) / since_s
        self._cpu_s, self._sampled_at = cpu_s, now
        return {
            "cpu_cores": round(cores, 4),
            "memory_bytes": self._memory_bytes(),
            "memory_peak_bytes": self.memory_peak_bytes,
            "memory_limit_bytes": self._meter.memory_limit_bytes,
        }

    def is_too_large(self) -> bool:
        """Whether the job is above its memory limit right now and must be killed."""
        assert self._meter is not None
        limit = self._meter.memory_limit_bytes
        if limit is None or self._memory_bytes() <= limit:
            return False
        self._was_too_large = True
        return True

    def end(self) -> bool:
        """Note that the job is over, and return whether any of it was killed for lack of memory."""
        if self._meter is None:
            return False
        is_oom = self._was_too_large or self._meter.oom_kills() > self._oom_kills
        if is_oom and self._meter.memory_limit_bytes is not None:  # reached between two samples
            self.memory_peak_bytes = max(self.memory_peak_bytes, self._meter.memory_limit_bytes)
        self.files_bytes = self._meter.files_bytes()
        return is_oom

    def _memory_bytes(self) -> int:
        assert self._meter is not None
        used = self._meter.memory_bytes()
        self.memory_peak_bytes = max(self.memory_peak_bytes, used)
        return used


class CgroupMeter:
    """What this container uses and may use, read from the files of cgroup v2 or v1."""

    def __init__(self, root: str = "/sys/fs/cgroup") -> None:
        self._v2 = os.path.exists(f"{root}/cgroup.controllers")
        self._memory = root if self._v2 else f"{root}/memory"
        self._cpu = root if self._v2 else f"{root}/cpuacct"
        text = _text(f"{self._memory}/{'memory.max' if self._v2 else 'memory.limit_in_bytes'}").strip()
        # Version 1 writes a number near 2**63 for "no limit", version 2 the word "max".
        self.memory_limit_bytes = int(text) if text.isdigit() and int(text) < 1 << 60 else None

    @property
    def usable(self) -> bool:
        return os.access(f"{self._memory}/memory.stat", os.R_OK)

    def cpu_s(self) -> float:
        if self._v2:
            return _field(f"{self._cpu}/cpu.stat", "usage_usec") / 1e6
        return int(_text(f"{self._cpu}/cpuacct.usage") or 0) / 1e9

    def memory_bytes(self) -> int:
        """Return the memory in use without the file cache that the kernel frees first, as ``docker stats`` does."""
        used = int(_text(f"{self._memory}/{'memory.current' if self._v2 else 'memory.usage_in_bytes'}") or 0)
        cache = _field(f"{self._memory}/memory.stat", "inactive_file" if self._v2 else "total_inactive_file")
        return max(0, used - cache)

    def files_bytes(self) -> int:
        """Return what the files in the container's temporary file systems take of the memory."""
        return _field(f"{self._memory}/memory.stat", "shmem" if self._v2 else "total_shmem")

    def oom_kills(self) -> int:
        return _field(f"{self._memory}/{'memory.events' if self._v2 else 'memory.oom_control'}", "oom_kill")


class ProcessTree:
    """What the descendants of this process use, read from /proc, for a sandbox without its own cgroup."""

    def __init__(self, usage: Usage, memory_limit_bytes: int | None, folders: Sequence[str] = ()) -> None:
        """*folders*: where file systems in memory are mounted that belong to this job."""
        self._usage = usage
        self._folders = folders
        self.memory_limit_bytes = memory_limit_bytes

    def cpu_s(self) -> float:
        ticks = 0
        for pid in descendants(os.getpid()):
            # After the command's closing bracket: state is field 0, then utime 11, stime, cutime, cstime.
            fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
        return self._usage.reaped_cpu_s + ticks / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> int:
        """Return the resident memory. If the sum exceeds the limit, count shared pages only once."""
        pids = descendants(os.getpid())
        resident = [_resident_bytes(pid) for pid in pids]
        files = self.files_bytes()
        used = sum(resident) + files
        if self.memory_limit_bytes is None or used <= self.memory_limit_bytes:
            return used
        # A process that is not dumpable hides how much it shares: then all of it counts.
        shares = (_field(f"/proc/{pid}/smaps_rollup", "Pss:") * 1024 for pid in pids)
        return sum(share or size for share, size in zip(shares, resident, strict=True)) + files

    def files_bytes(self) -> int:
        """Return the memory of all files in the sandbox's own file systems; those without a name are not among them."""
        return sum(map(_files_bytes, self._folders))

    def oom_kills(self) -> int:
        return 0


def largest_of(pids: list[int]) -> list[int]:
    """Return the process with the most resident memory, which the kernel would kill too; none of none."""
    return sorted(pids, key=_resident_bytes)[-1:]


def descendants(root: int) -> list[int]:
    """Return the pids of all processes below *root*, from /proc."""
    found: list[int] = []
    pending = [root]
    while pending:
        try:
            tasks = f"/proc/{pending[-1]}/task"
            children = [int(pid) for task in os.listdir(tasks) for pid in _text(f"{tasks}/{task}/children").split()]
        except OSError:
            children = []
        pending.pop()
        pending += children
        found += children
    return found


def _resident_bytes(pid: int) -> int:
    return int((_text(f"/proc/{pid}/statm").split() or "00")[1]) * os.sysconf("SC_PAGE_SIZE")


def _files_bytes(folder: str) -> int:
    spot = os.statvfs(folder)
    return (spot.f_blocks - spot.f_bfree) * spot.f_frsize + (spot.f_files - spot.f_ffree) * INODE_BYTES


def _text(path: str) -> str:
    """Return the text of a small file, or "" if it cannot be read (any more)."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _field(path: str, name: str) -> int:
    for line in _text(path).splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == name:
            return int(words[1])
    return 0
