"""What the words of bubblewrap mean on which machine."""

from __future__ import annotations

import pytest

from fastflow_runner.backend.bubble import refused
from fastflow_runner.sandbox.bubble.failures import (
    NETWORK_PARTS,
    BubblewrapFailed,
    FolderFailed,
    NetworkFailed,
    NetworkPart,
)
from fastflow_runner.sandbox.bubble.network_tools import Lack
from fastflow_runner.sandbox.bubble.probe import HostFacts, few_namespaces, no_bubble, no_network
from fastflow_runner.sandbox.bubble.tools import NoBubble

USUAL = HostFacts(userns_max=10_000)
NAMESPACES = "bwrap: No permissions to create new namespace, likely because the kernel does not allow it."
UID_MAP = "bwrap: setting up uid map: Permission denied"


@pytest.mark.parametrize(
    ("words", "facts", "problem", "advice"),
    [
        (NAMESPACES, HostFacts(), "this kernel has no user namespaces", "CONFIG_USER_NS"),
        (NAMESPACES, HostFacts(userns_max=0), "user namespaces are turned off", "user.max_user_namespaces"),
        (
            NAMESPACES,
            HostFacts(userns_max=10_000, userns_of_users=False),
            "user namespaces are for root only",
            "kernel.unprivileged_userns_clone=1",
        ),
        (
            UID_MAP,
            HostFacts(userns_max=10_000, apparmor_restricts=True),
            "AppArmor forbids user namespaces to bubblewrap",
            "bwrap-userns-restrict",
        ),
        (
            "bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted",
            HostFacts(userns_max=10_000, apparmor_restricts=True),
            "AppArmor forbids user namespaces to bubblewrap",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (
            "bwrap: Creating new namespace failed: Operation not permitted",
            HostFacts(userns_max=10_000, in_container=True),
            "the container around this process forbids namespaces",
            "seccomp=unconfined",
        ),
        (
            "bwrap: Creating new namespace failed: nesting depth or /proc/sys/user/max_*_namespaces exceeded (ENOSPC)",
            USUAL,
            "too few user namespaces",
            "user.max_user_namespaces",
        ),
        (
            "bwrap: unshare user ns: No space left on device",
            HostFacts(userns_max=1),
            "too few user namespaces (1;",
            "user.max_user_namespaces",
        ),
        (
            "bwrap: Failed to mount tmpfs: Permission denied",  # SELinux, in Podman
            HostFacts(userns_max=10_000, in_container=True),
            "the container around this process forbids namespaces",
            "apparmor=unconfined",
        ),
        (
            "bwrap: Can't mount proc on /newroot/proc: Operation not permitted",
            USUAL,
            "a container without a /proc of its own",
            "systempaths=unconfined",
        ),
        (
            "bwrap: Creating new namespace failed, likely because the kernel does not support user namespaces.  "
            "bwrap must be installed setuid on such systems.",
            HostFacts(),
            "this kernel has no user namespaces",
            "CONFIG_USER_NS",
        ),
        ("bwrap: The --size option is not permitted in setuid mode", USUAL, "is installed setuid root", "chmod u-s"),
        ("bwrap: Can't mkdir /work: No space left on device", USUAL, "no room for the files", "free memory"),
        (
            "bwrap: Can't mkdir /work: Permission denied",
            USUAL,
            "(bwrap: Can't mkdir /work: Permission",
            "--unshare-all",
        ),
        (
            "bwrap: Can't find source path /srv/setuid/userns mkdir: No such file or directory",
            USUAL,
            "cannot make a sandbox (bwrap: Can't find source path /srv/setuid",
            "bwrap --unshare-all",
        ),
        ("", USUAL, "something killed bubblewrap", "log of the kernel"),
        ("bwrap: Something new\nin two lines.", USUAL, "(bwrap: Something new in two lines)", "bwrap --unshare-all"),
    ],
)
def test_each_failure_has_a_cause_and_a_remedy(words: str, facts: HostFacts, problem: str, advice: str) -> None:
    """The cause is in the words, in the settings of the machine, or both."""
    no = no_bubble(BubblewrapFailed(words), facts)
    assert problem in str(no)
    assert advice in no.hint


@pytest.mark.parametrize("part", NETWORK_PARTS)
def test_a_failed_network_is_not_blamed_on_bubblewrap(part: NetworkPart) -> None:
    """Whatever words the failure has: its kind counts. A network of another kind is always a way out."""
    no = no_bubble(NetworkFailed(part, "setuid mkdir userns: it was killed (Operation not supported)"), USUAL)
    assert str(no).startswith("sandboxes get no network here (setuid mkdir")
    assert "bubblewrap" not in f"{no} {no.hint}"
    assert "set FASTFLOW_NETWORK=none" in no.hint


def test_a_folder_without_room_is_named() -> None:
    """It is the folder of sandboxes, not their memory."""
    no = no_bubble(
        FolderFailed("the sandbox cannot be made in /srv/userns: [Errno 28] No space left on device."), USUAL
    )
    assert "/srv/userns" in str(no)
    assert "FASTFLOW_DATA_DIR" in no.hint


def test_a_machine_with_user_namespaces_for_few_sandboxes_is_named() -> None:
    """One sandbox at the start proves nothing about the second."""
    assert few_namespaces(USUAL, 34) == ()
    assert few_namespaces(HostFacts(), 34) == ()
    (said,) = few_namespaces(HostFacts(userns_max=6), 34)
    assert "enough for 2 of the 34" in said
    assert "user.max_user_namespaces=10000" in said
    for most in (1, 2, 5):
        with pytest.raises(NoBubble, match="too few user namespaces"):
            few_namespaces(HostFacts(userns_max=most), 34)


def test_what_a_network_lacks_is_one_sentence() -> None:
    """The machine's words and the way around it follow each other."""
    lack = Lack("nft is not here", "install nftables")
    assert str(lack) == "nft is not here; install nftables."
    said = str(refused(no_network(lack)))
    assert said.startswith("nft is not here: install nftables, or set FASTFLOW_NETWORK=none, which")
    assert said.count(": ") == 1
