"""Why a sandbox cannot be made on this machine, in a clause each for the problem and the solution. I/O: it looks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from fastflow_runner.sandbox import SandboxError
from fastflow_runner.sandbox.bubble.failures import (
    BubblewrapFailed,
    FolderFailed,
    NetworkFailed,
    NetworkPart,
    NotReached,
)
from fastflow_runner.sandbox.bubble.network_tools import Lack
from fastflow_runner.sandbox.bubble.tools import NoBubble

_CONTAINER: Final = "start its container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
_MORE_NAMESPACES: Final = (
    "as root, run sysctl -w user.max_user_namespaces=10000, and add it to /etc/sysctl.d for the next start of this "
    "machine"
)
_REASON_CHARS_MAX: Final = 300
_NAMESPACES_EACH: Final = 3
"""User namespaces that a sandbox takes: bubblewrap two, and one the helper of its network."""


class HostFacts(msgspec.Struct, frozen=True):
    """What decides about namespaces on this machine."""

    userns_max: int | None = None
    """``user.max_user_namespaces``; None: this kernel has no such setting, or no user namespaces."""
    userns_of_users: bool = True
    """Debian's switch ``kernel.unprivileged_userns_clone``."""
    apparmor_restricts: bool = False
    """Ubuntu's switch ``kernel.apparmor_restrict_unprivileged_userns``."""
    in_container: bool = False


def host_facts() -> HostFacts:
    """Look at this machine."""
    most = _number("/proc/sys/user/max_user_namespaces")
    return HostFacts(
        userns_max=most,
        userns_of_users=_number("/proc/sys/kernel/unprivileged_userns_clone") != 0,
        apparmor_restricts=_number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1,
        in_container=any(map(os.path.exists, ("/.dockerenv", "/run/.containerenv")))
        or "container" in os.environ
        or "KUBERNETES_SERVICE_HOST" in os.environ,
    )


def few_namespaces(facts: HostFacts, wanted: int) -> tuple[str, ...]:
    """Say it, as a sentence for the operator, if this machine has user namespaces for fewer than *wanted* sandboxes.

    Raises:
        NoBubble: It has them for fewer than two: a run, and the sandbox that prepares the next one's environment.
    """
    if facts.userns_max is None or facts.userns_max >= wanted * _NAMESPACES_EACH:
        return ()
    if facts.userns_max < 2 * _NAMESPACES_EACH:
        raise _exhausted(facts)
    return (
        f"User namespaces of this machine are enough for {facts.userns_max // _NAMESPACES_EACH} of the {wanted} "
        f"sandboxes that this runner may make at once; the others fail to start. {_MORE_NAMESPACES[0].upper()}"
        f"{_MORE_NAMESPACES[1:]}.",
    )


def no_bubble(error: SandboxError, facts: HostFacts) -> NoBubble:
    """Explain a sandbox that could not be made on this machine."""
    match error:
        case BubblewrapFailed():
            return _not_made(error.said, facts)
        case NetworkFailed():
            return no_network(Lack(f"sandboxes get no network here ({_short(error.why)})", _NETWORK_HINTS[error.part]))
        case NotReached():
            return NoBubble(error.found, error.hint)
        case FolderFailed():
            return NoBubble(_short(str(error)), "make room, or set FASTFLOW_DATA_DIR to a folder on a local disk")
        case _:
            return NoBubble(f"no sandbox can be made ({_short(str(error))})", "see what the kernel's log says of it")


def no_network(lack: Lack) -> NoBubble:
    """Return the error for a machine that cannot give runs the network that the settings ask for."""
    return NoBubble(lack.found, f"{lack.hint}, or {_OTHER_NETWORKS}")


def _not_made(said: str, facts: HostFacts) -> NoBubble:
    """Explain what bubblewrap said. Only how its lines begin counts: further on are paths, which hold any word."""
    lines = [line.removeprefix("bwrap: ") for line in said.splitlines()]
    said = _short(" ".join(said.split()))
    if not said:
        return NoBubble(
            "something killed bubblewrap while it made a sandbox",
            "see the log of the kernel and the memory of this machine",
        )
    if _has(lines, _PROC):
        return NoBubble(
            "this process is in a container without a /proc of its own, so it cannot give one to a sandbox",
            f"{_CONTAINER} --security-opt systempaths=unconfined (Podman: unmask=ALL)",
        )
    if _has(lines, _SETUID):
        return NoBubble(
            "bubblewrap is installed setuid root, which is not supported",
            "run chmod u-s on it: kernels of today do not need that",
        )
    if _has(lines, _FILES) and said.endswith(_NO_ROOM):
        return NoBubble("there is no room for the files of a sandbox in memory", "free memory of this machine")
    if _has(lines, _NAMESPACES):
        return _no_namespaces(lines, facts)
    return NoBubble(
        f"bubblewrap cannot make a sandbox ({said})", "see what `bwrap --unshare-all --ro-bind / / true` says"
    )


def _has(lines: list[str], beginnings: tuple[str, ...]) -> bool:
    return any(line.startswith(beginnings) for line in lines)


def _short(text: str) -> str:
    return text[:_REASON_CHARS_MAX].rstrip(".")


def _exhausted(facts: HostFacts) -> NoBubble:
    if facts.userns_max == 0:
        return NoBubble("user namespaces are turned off", _MORE_NAMESPACES)
    return NoBubble(
        f"this machine has too few user namespaces ({facts.userns_max}; each sandbox takes {_NAMESPACES_EACH})",
        _MORE_NAMESPACES,
    )


def _no_namespaces(lines: list[str], facts: HostFacts) -> NoBubble:
    if facts.userns_max is None:
        return NoBubble("this kernel has no user namespaces", "boot one with CONFIG_USER_NS")
    if facts.userns_max == 0 or _has(lines, _EXHAUSTED):
        return _exhausted(facts)
    if not facts.userns_of_users:
        return NoBubble(
            "user namespaces are for root only", "run sysctl -w kernel.unprivileged_userns_clone=1, as Debian has it"
        )
    if facts.apparmor_restricts:
        return NoBubble(
            "AppArmor forbids user namespaces to bubblewrap",
            "allow them to /usr/bin/bwrap (Ubuntu: install apparmor-profiles and link bwrap-userns-restrict into "
            "/etc/apparmor.d), or run sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        )
    if facts.in_container:
        return NoBubble("the container around this process forbids namespaces", _CONTAINER)
    return NoBubble(
        f"this system forbids namespaces ({_short(' '.join(lines))})",
        "see its policy (SELinux, seccomp, sysctl user.max_user_namespaces)",
    )


_PROC: Final = ("Can't mount proc", "mounting proc")
_SETUID: Final = ("The --size option is not permitted in setuid mode", "Unexpected setuid user")
_FILES: Final = ("creating ", "Can't mkdir", "Can't create file", "Can't write data")
_NO_ROOM: Final = ("No space left on device", "Cannot allocate memory")
_EXHAUSTED: Final = ("unshare user ns: No space left", "Creating new namespace failed: nesting depth")
_NAMESPACES: Final = (
    *_EXHAUSTED,
    "Creating new namespace failed",
    "No permissions to creat",
    "Setting userns2 failed",
    "setting up uid map",
    "setting up gid map",
    "Failed to make / slave",
    "loopback: Failed",
    "Failed to mount tmpfs",
    "Unexpected capabilities",
    "cannot open /proc/sys/user/max_user_namespaces",
    "sysctl user.max_user_namespaces",
    "unshare ",
    "creation of new user namespaces",
)
"""How bubblewrap's complaints begin, without its name."""
_OTHER_NETWORKS: Final = (
    "set FASTFLOW_NETWORK=none, which gives runs no network, or FASTFLOW_NETWORK=host, which gives them this "
    "machine's, the bus included"
)
_NETWORK_HINTS: Final[dict[NetworkPart, str]] = {
    "rules": "as root, run modprobe nf_tables, or boot a kernel with CONFIG_NF_TABLES_INET and CONFIG_NFT_REJECT",
    "nft": "install nftables again",
    "helper": "install passt or slirp4netns again, or the other of them, which is then tried too",
    "namespaces": "let this process make namespaces (user.max_user_namespaces, seccomp and AppArmor of its container)",
    "keeper": "see the log of the kernel, and the memory and the load of this machine",
    "sandbox": "see the log of the kernel",
}


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None
