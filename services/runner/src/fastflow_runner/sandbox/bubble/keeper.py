"""Connects sandboxes to networks: a small process beside the runner. I/O. Standard library only; run as a file.

Started as ``python -I -S keeper.py FD [USER]``. For each order that comes through the socket FD it forks a warden. The
warden has its own mounts, and is the first process of a process namespace of its own. It sets the rules of the
sandbox's network, starts the helper that carries its packets (``pasta`` or ``slirp4netns``), answers, and ends with the
sandbox. Whatever ends the warden, the kernel then kills the helper. So a helper never outlives its sandbox, and needs
no runner to end.

The keeper ends with its runner; wardens do not.

An order is a JSON object: ``rules`` for ``nft -f``; ``helper``, its command, in which ``NETWORK`` stands for the path
of the network namespace; ``tells``, whether the helper says on ``--ready-fd`` that it is ready, and does not go into
the background then. Four descriptors come with it: the sandbox's process, its network namespace, the user namespace
that owns this, and a socket for the answer: ``ok``, or ``PART: what went wrong`` (see ``failures.NetworkPart``).
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
from contextlib import suppress
from functools import partial
from typing import Any

ORDER_BYTES_MAX = 1024 * 1024
TUN = "/dev/net/tun"
HELPER_S = 20.0
SAID_BYTES_MAX = 65536
LOOK_S = 0.001
SHOWN = "/proc/version"
"""The file that a warden, in a mount namespace of its own, covers with a network: no helper needs what is there."""
_TUN_NUMBER = os.makedev(10, 200)
_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2
_CAP_NET_ADMIN, _CAP_SYS_ADMIN = 12, 21
_CAPABILITY_VERSION = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


class NotConnected(Exception):
    """The network could not be made. The message is for the operator.

    Without a *part*, a system call on the namespaces failed.
    """

    def __init__(self, why: str, part: str = "namespaces") -> None:
        super().__init__(f"{part}: {why}")


def main() -> None:
    """Serve orders until the runner is gone."""
    orders = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for wardens
    if len(sys.argv) > 2:
        _become(int(sys.argv[2]))
    while True:
        data, descriptors, _, _ = socket.recv_fds(orders, ORDER_BYTES_MAX, 4)
        if not data:
            return
        if os.fork() == 0:
            orders.close()
            try:
                _fork_warden(json.loads(data), *descriptors)
            finally:
                os._exit(0)
        for each in descriptors:
            os.close(each)


def _become(user: int) -> None:
    """Give up root, and before that make a ``tun`` device that *user* may open, unless everybody may."""
    try:
        mode = os.stat(TUN).st_mode
        if mode & 0o006 != 0o006:
            _check(_libc.unshare(_CLONE_NEWNS), "unshare")
            _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "mount")
            _check(_libc.mount(b"tmpfs", os.path.dirname(TUN).encode(), b"tmpfs", 0, b"mode=0755"), "mount")
            os.mknod(TUN, stat.S_IFCHR | 0o600, _TUN_NUMBER)
            os.chown(TUN, user, user)
    except (NotConnected, OSError):  # the helper says that it cannot open it
        pass
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def _fork_warden(order: dict[str, Any], sandbox: int, network: int, owner: int, answer: int) -> None:
    os.setsid()
    os.dup2(1, 2)  # nobody waits for the end of the runner's output until the last sandbox has ended
    try:
        _check(_libc.setns(owner, _CLONE_NEWUSER), "enter the sandbox's user namespace")
        _check(_libc.unshare(_CLONE_NEWPID | _CLONE_NEWNS), "make namespaces")
    except NotConnected as error:
        _say(answer, str(error))
        return
    os.close(owner)
    if os.fork() == 0:
        _guard(order, sandbox, network, answer)


def _guard(order: dict[str, Any], sandbox: int, network: int, answer: int) -> None:
    """Connect the sandbox, and return at its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    said, its_said = os.pipe()
    try:
        _await_ids(sandbox)
        _pass_capabilities()
        with _Rules(order["rules"], network):
            path = _show(network)
            command = [path if each == "NETWORK" else each for each in order["helper"]]
            is_ready = _start(command, sandbox, its_said, tells=order["tells"])
        os.close(its_said)
        if not is_ready:
            _complain(order["helper"][0], sandbox, said)
    except NotConnected as error:
        _say(answer, str(error))
        return
    except (OSError, subprocess.SubprocessError) as error:
        _say(answer, f"namespaces: {error}")
        return
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the helper
    os.close(network)
    _say(answer, "ok")
    os.close(answer)
    _wait(sandbox, said)


def _await_ids(sandbox: int) -> None:
    """Return when the sandbox's user namespace has its ids: bubblewrap names its process before it writes them."""
    is_over = False
    while not is_over:
        with open("/proc/self/uid_map") as users, open("/proc/self/gid_map") as groups:
            if users.read() and groups.read():
                return
        is_over = bool(select.select((sandbox,), (), (), LOOK_S)[0])  # the kernel tells nobody when they are there
    raise NotConnected("the sandbox ended before it was connected", "sandbox")


def _wait(sandbox: int, said: int) -> None:
    """Return at the end of the sandbox. Until then what the helper says is read, so that it never waits."""
    poll = select.poll()
    poll.register(sandbox, select.POLLIN)
    poll.register(said, select.POLLIN)
    while sandbox not in (ready := dict(poll.poll())):
        if said in ready and not os.read(said, SAID_BYTES_MAX):
            poll.unregister(said)


class _Rules:
    """Sets the rules of a network while its helper starts."""

    def __init__(self, text: str, network: int) -> None:
        self._text = text
        self._enter = partial(_enter, network)

    def __enter__(self) -> None:
        with open(os.memfd_create("rules"), "w+b") as rules:
            rules.write(self._text.encode())
            rules.seek(0)
            try:
                self._nft = subprocess.Popen(
                    ("nft", "-f", "-"),
                    stdin=rules,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    preexec_fn=self._enter,
                )
            except OSError as error:
                raise NotConnected(f"nft cannot be started ({error.strerror})", "nft") from None
            except subprocess.SubprocessError:  # in preexec_fn
                raise NotConnected("cannot enter the sandbox's network namespace") from None

    def __exit__(self, *_: object) -> None:
        try:
            said = self._nft.communicate(timeout=HELPER_S)[1]
        except subprocess.TimeoutExpired:
            raise NotConnected(f"nft did not end within {HELPER_S:.0f} s", "nft") from None
        why = " ".join(said.decode(errors="replace").split())[:300]
        if self._nft.returncode < 0:
            raise NotConnected(f"nft was killed by signal {-self._nft.returncode}", "nft")
        if self._nft.returncode:
            raise NotConnected(f"the kernel does not take the rules of its network ({why})", "rules")


def _start(command: list[str], sandbox: int, said: int, *, tells: bool) -> bool:
    """Start the helper, and return whether it became ready."""
    ready, its_ready = os.pipe()
    start = partial(subprocess.Popen, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        if not tells:
            return start(command).wait(HELPER_S) == 0
        start((*command, f"--ready-fd={its_ready}"), pass_fds=(its_ready,))
    except OSError as error:
        raise NotConnected(f"{command[0]} cannot be started ({error.strerror})", "helper") from None
    except subprocess.TimeoutExpired:
        raise NotConnected(f"{command[0]} was not ready within {HELPER_S:.0f} s", "helper") from None
    finally:
        os.close(its_ready)
    readable, _, _ = select.select((ready, sandbox), (), (), HELPER_S)
    is_ready = ready in readable and bool(os.read(ready, 1))
    os.close(ready)
    return is_ready


def _complain(helper: str, sandbox: int, said: int) -> None:
    """Raise for a helper that did not become ready, and perhaps is still at work."""
    if select.select((sandbox,), (), (), 0)[0]:
        raise NotConnected("the sandbox ended before it was connected", "sandbox")
    os.set_blocking(said, False)
    try:
        lines = [line for line in os.read(said, SAID_BYTES_MAX).decode(errors="replace").splitlines() if line]
    except BlockingIOError:
        raise NotConnected(f"{helper} was not ready within {HELPER_S:.0f} s", "helper") from None
    raise NotConnected(f"{helper} ended: {lines[-1] if lines else 'it said nothing, or was killed'}", "helper")


def _show(network: int) -> str:
    """Return a path by which a program that this process starts opens the namespace, without rights over others.

    Descriptors above 2 are closed by newer helpers, and ``/proc`` refuses them those of other processes.
    """
    _check(_libc.mount(f"/proc/self/fd/{network}".encode(), SHOWN.encode(), None, _MS_BIND, None), "mount")
    return SHOWN


def _pass_capabilities() -> None:
    """Let programs that this process starts have its rights over the sandbox's namespaces."""
    head = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, twice
    _check(_libc.capget(head, sets), "read capabilities")
    sets[2], sets[5] = sets[1], sets[4]
    _check(_libc.capset(head, sets), "pass capabilities on")
    for each in (_CAP_NET_ADMIN, _CAP_SYS_ADMIN):
        _check(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, each, 0, 0), "pass capabilities on")


def _enter(network: int) -> None:
    _check(_libc.setns(network, _CLONE_NEWNET), "enter the sandbox's network namespace")


def _check(result: int, what: str) -> None:
    if result < 0:
        raise NotConnected(f"cannot {what}: {os.strerror(ctypes.get_errno())}")


def _say(answer: int, text: str) -> None:
    with suppress(BrokenPipeError):  # the runner is gone
        os.write(answer, text.encode()[:4000])


if __name__ == "__main__":
    main()
