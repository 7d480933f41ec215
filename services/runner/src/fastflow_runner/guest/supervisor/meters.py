"""What a job uses: of its container by cgroup, else of its process tree by /proc.

Standard library only.
"""

from __future__ import annotations

import os

from .procfs import _field, _text, descendants

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Cgroup:
    """What this container uses and may use, by the files of cgroup v2 or v1."""

    def __init__(self, root: str = "/sys/fs/cgroup") -> None:
        self._v2 = os.path.exists(f"{root}/cgroup.controllers")
        self._memory = root if self._v2 else f"{root}/memory"
        self._cpu = root if self._v2 else f"{root}/cpuacct"
        text = _text(f"{self._memory}/{'memory.max' if self._v2 else 'memory.limit_in_bytes'}").strip()
        # Version 1 says "no limit" with a number near 2**63, version 2 with the word "max".
        self.memory_limit_bytes = int(text) if text.isdigit() and int(text) < 1 << 60 else None

    @property
    def usable(self) -> bool:
        return os.access(f"{self._memory}/memory.stat", os.R_OK)

    def cpu_s(self) -> float:
        if self._v2:
            return _field(f"{self._cpu}/cpu.stat", "usage_usec") / 1e6
        return int(_text(f"{self._cpu}/cpuacct.usage") or 0) / 1e9

    def memory_bytes(self) -> int:
        """Without the file cache that the kernel gives up first, as ``docker stats`` counts."""
        used = int(_text(f"{self._memory}/{'memory.current' if self._v2 else 'memory.usage_in_bytes'}") or 0)
        cache = _field(f"{self._memory}/memory.stat", "inactive_file" if self._v2 else "total_inactive_file")
        return max(0, used - cache)

    def oom_kills(self) -> int:
        return _field(f"{self._memory}/{'memory.events' if self._v2 else 'memory.oom_control'}", "oom_kill")


class Tree:
    """What the descendants of this process use, by /proc; for a sandbox without a cgroup of its own."""

    def __init__(self, reaped_cpu_s: Callable[[], float], memory_limit_bytes: int | None) -> None:
        self._reaped_cpu_s = reaped_cpu_s
        self.memory_limit_bytes = memory_limit_bytes

    def cpu_s(self) -> float:
        ticks = 0
        for pid in descendants(os.getpid()):
            # After the command's closing bracket: state is field 0, then utime 11, stime, cutime, cstime.
            fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
        return self._reaped_cpu_s() + ticks / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> int:
        """Resident pages; where that sum exceeds the limit, with shared pages counted once."""
        pids = descendants(os.getpid())
        pages = sum(int((_text(f"/proc/{pid}/statm").split() or "00")[1]) for pid in pids)
        used = pages * os.sysconf("SC_PAGE_SIZE")
        if self.memory_limit_bytes is None or used <= self.memory_limit_bytes:
            return used
        return sum(_field(f"/proc/{pid}/smaps_rollup", "Pss:") for pid in pids) * 1024

    def oom_kills(self) -> int:
        return 0
