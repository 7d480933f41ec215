"""Whether this process may start programs as another user. I/O."""

from __future__ import annotations

import os
from pathlib import Path


def can_be(user: int) -> bool:
    """Whether this process is root, and *user* exists where it runs: a container may have few users, or only one."""
    if os.geteuid() != 0:
        return False
    try:
        ranges = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    except OSError:
        return False
    return any(int(first) <= user < int(first) + int(count) for first, _, count in ranges)
