"""What /proc says about processes.

Standard library only.
"""

from __future__ import annotations

import os


def descendants(root: int) -> list[int]:
    """The pids of everything below *root*, by /proc."""
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


def _text(path: str) -> str:
    """A small file, or nothing when it cannot be read (any more)."""
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
