"""The command that makes one sandbox: what ``bwrap`` is told. Pure.

The order counts: bubblewrap mounts in the order of its arguments, and the root becomes read-only last. Each mount costs
time, because bubblewrap reads the list of all mounts after it: small files are written instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from fastflow_runner.sandbox import Mount, SandboxSpec

GUEST_PATH: Final = "/opt/fastflow"
"""Where our own code is inside."""
HOST_NAME: Final = "sandbox"
WORK: Final = "/work"


class SystemLink(msgspec.Struct, frozen=True):
    """A symbolic link inside."""

    target: str
    path: str


class Descriptors(msgspec.Struct, frozen=True):
    """What the process that becomes bubblewrap has open."""

    info: int
    """Gets the process id of the sandbox."""
    status: int
    """Gets the exit code of the sandbox at its end."""
    block: int
    """The sandbox waits for a byte here before it starts."""
    began: int
    """Gets a byte from the supervisor, and has its end at the start of the supervisor or the end of the sandbox."""
    seccomp: int | None = None
    """The filter of system calls."""


def bubble_command(
    bwrap: str,
    python: str,
    spec: SandboxSpec,
    mounts: Sequence[Mount],
    links: Sequence[SystemLink],
    env: Mapping[str, str],
    files: Mapping[str, int],
    open_: Descriptors,
    *,
    shares_network: bool = False,
    limits_processes: bool = False,
) -> list[str]:
    """Return the command of one sandbox.

    Args:
        bwrap: Path of bubblewrap.
        python: Path of the supervisor's interpreter inside.
        mounts: What it sees of this machine.
        links: Symbolic links of its system.
        env: Base of its environment.
        files: Descriptors by the path of the file that gets their content.
        open_: The descriptors for bubblewrap itself.
        shares_network: Whether its network is this machine's.
        limits_processes: Whether the supervisor limits the number of its processes, because no control group does.
    """
    user = str(spec.user)
    words = [bwrap, "--unshare-all", "--unshare-user", "--disable-userns", "--uid", user, "--gid", user]
    if shares_network:
        words.append("--share-net")
    words += ["--hostname", HOST_NAME, "--new-session", "--as-pid-1", "--cap-drop", "ALL", "--clearenv"]
    words += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev"]
    for path, size_bytes, mode in (
        ("/dev/shm", max(spec.memory_bytes or 0, spec.tmp_bytes), "1777"),  # noqa: S108 - the sandbox's own
        ("/tmp", spec.tmp_bytes, "1777"),  # noqa: S108
        (WORK, spec.work_bytes, "0755"),
    ):
        words += ["--size", str(size_bytes), "--perms", mode, "--tmpfs", path]
    for link in links:
        words += ["--symlink", link.target, link.path]
    for mount in mounts:
        words += ["--ro-bind" if mount.read_only else "--bind", mount.source, mount.target]
    for path, descriptor in files.items():
        words += ["--perms", "0444", "--file", str(descriptor), path]
    words += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", WORK]
    for name, value in {**env, **spec.env}.items():
        words += ["--setenv", name, value]
    words += ["--info-fd", str(open_.info), "--json-status-fd", str(open_.status), "--block-fd", str(open_.block)]
    if open_.seccomp is not None:
        words += ["--seccomp", str(open_.seccomp)]
    words += ["--", python, "-I", "-S", f"{GUEST_PATH}/supervisor/__main__.py", f"--bare={open_.began}"]
    return [*words, f"--processes-max={spec.processes_max}"] if limits_processes else words
