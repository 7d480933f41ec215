"""Where this process may make control groups: its own group in each hierarchy, made ready for groups below it. I/O.

In version 1 each controller has a hierarchy, and a group may hold processes and groups. In version 2 there is one
hierarchy, and a group with controllers for its groups holds no processes. So the runner moves into a leaf beside the
sandboxes::

    fastflow.service   delegated to us
        runner         the runner, and what else was in fastflow.service
        ff-…           a sandbox each
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Set
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

LEAF: Final = "runner"
"""A unit with ``DelegateSubgroup=runner`` starts the runner in it."""
TOP: Final = "fastflow"
"""The group below the top of version 2, for root in a group that it shares with others."""
_MOVES_MAX: Final = 20
"""How often processes that start meanwhile are moved too."""


class OwnGroup(NamedTuple):
    """The group of a process in one hierarchy."""

    folder: Path
    top: Path
    """Where the hierarchy is mounted."""
    controllers: frozenset[str]
    """Of version 1. Empty: version 2, whose group says in a file which controllers it has."""


def own_groups(groups: str, mounts: str) -> list[OwnGroup]:
    """Return the groups of a process that it can reach through a mount. Pure.

    Args:
        groups: Its ``/proc/self/cgroup``.
        mounts: Its ``/proc/self/mountinfo``.
    """
    paths = dict[str, str]()
    for line in groups.splitlines():
        _, names, path = line.split(":", 2)
        paths |= dict.fromkeys(names.split(","), path)
    found = dict[frozenset[str], OwnGroup]()
    for line in mounts.splitlines():
        place, _, kind = line.partition(" - ")
        system, _, options = kind.split(" ", 2)
        if system not in {"cgroup", "cgroup2"}:
            continue
        root, top = (_unescaped(each) for each in place.split(" ")[3:5])
        controllers = frozenset(options.split(",")).intersection(paths) if system == "cgroup" else frozenset[str]()
        if system == "cgroup" and not controllers:
            continue
        path = paths.get(min(controllers, default=""), "..")
        if ".." in path.split("/") or not f"{path}/".startswith(f"{root.rstrip('/')}/"):
            continue
        inside = path[len(root.rstrip("/")) :].strip("/")
        found.setdefault(controllers, OwnGroup(Path(top) / inside, Path(top), controllers))
    return list(found.values())


def delegated_folder(own: OwnGroup, wanted: Set[str]) -> Path:
    """Return a group of version 2 below which sandboxes can have theirs, with those of *wanted* that are available.

    Raises:
        OSError: Nothing here lets this process make such a group.
    """
    if own.folder == own.top and not (own.top / "cgroup.events").exists():  # the true top has none
        return _top_folder(own.top, wanted)
    if own.folder.name == LEAF and wanted & _controllers(own.folder.parent, "cgroup.subtree_control"):
        return own.folder.parent
    try:
        _enable(own.folder, wanted)
    except OSError:
        with suppress(OSError):
            _move_into_leaf(own.folder, wanted)
            return own.folder
        if os.geteuid() != 0:
            raise
        return _top_folder(own.top, wanted)
    return own.folder


def _top_folder(top: Path, wanted: Set[str]) -> Path:
    """Make a group at the top, which only root may do."""
    _enable(top, wanted)
    folder = top / TOP
    folder.mkdir(exist_ok=True)
    _enable(folder, wanted)
    return folder


def _move_into_leaf(folder: Path, wanted: Set[str]) -> None:
    """Move this process, and in a group that is wholly ours all others, out of the way of *wanted*."""
    leaf = folder / LEAF
    leaf.mkdir(exist_ok=True)
    try:
        for number in range(_MOVES_MAX):
            try:
                for pid in list(_processes(folder)) if _is_ours(folder) else [os.getpid()]:
                    with suppress(ProcessLookupError):
                        (leaf / "cgroup.procs").write_text(str(pid))
                return _enable(folder, wanted)
            except OSError:
                if number == _MOVES_MAX - 1:
                    raise
    except OSError:
        for pid in _processes(leaf):
            with suppress(OSError):
                (folder / "cgroup.procs").write_text(str(pid))
        with suppress(OSError):
            leaf.rmdir()
        raise


def _enable(folder: Path, wanted: Set[str]) -> None:
    """Give the groups below *folder* those of *wanted* that *folder* has. Raises ``OSError``."""
    for controller in sorted(wanted & _controllers(folder, "cgroup.controllers")):
        if controller not in _controllers(folder, "cgroup.subtree_control"):
            (folder / "cgroup.subtree_control").write_text(f"+{controller}")


def _is_ours(folder: Path) -> bool:
    """Whether systemd delegated a group, or it is the whole of what a container sees."""
    for name in ("user.delegate", "trusted.delegate"):
        with suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    # The top of a namespace, which has what the true top has not.
    return not (folder.parent / "cgroup.procs").exists() and (folder / "cgroup.events").exists()


def _controllers(folder: Path, file: str) -> frozenset[str]:
    return frozenset((folder / file).read_text().split())


def _processes(folder: Path) -> Iterator[int]:
    """Yield the processes of a group; those of another process namespace have no number here."""
    for line in (folder / "cgroup.procs").read_text().split():
        if line != "0":
            yield int(line)


def _unescaped(word: str) -> str:
    return re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), word)
