"""The network of a sandbox: none, what the internet is, or what its pipeline lists. I/O.

A sandbox has a network namespace of its own. A helper (``pasta`` or ``slirp4netns``), which is an ordinary program
outside, carries its packets. It reaches all that this machine reaches, so rules in the sandbox's namespace say first
what may leave. ``keeper`` sets both up, while the sandbox's supervisor starts; no script runs before they are there.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Final

import msgspec
from msgspec.structs import replace

from fastflow_runner.guest.firewall.lookup import FirewallFailed, find, looked_up, own_addresses
from fastflow_runner.guest.firewall.openings import BadDestination, Opening
from fastflow_runner.sandbox import USER, SandboxError
from fastflow_runner.sandbox.bubble.failures import NETWORK_PARTS, NetworkFailed
from fastflow_runner.sandbox.bubble.network_rules import NAME_SERVER, listed_rules, open_rules
from fastflow_runner.sandbox.bubble.network_tools import Lack, NetworkTools, find_tools, program_path

SHARED: Final = "host"
"""The network of runs that is this machine's own, as Docker calls it."""
JOIN_S: Final = 60.0
NAMES_S: Final = 60.0
"""How long the addresses of what the operator opens are used before they are looked up again."""
_KEEPER: Final = Path(__file__).with_name("keeper.py")
_NS_GET_USERNS: Final = 0xB701
_ANSWER_BYTES_MAX: Final = 4096


class NetworkPlan(msgspec.Struct, frozen=True):
    """The network that a sandbox gets."""

    is_shared: bool = False
    """Whether it is this machine's own: the sandbox has no network namespace."""
    rules: str = ""
    """What may leave it; empty: there is nothing to join."""
    hosts: tuple[str, ...] = ()
    """``name:address`` of all names that it can look up, where it cannot ask a name server."""
    resolv_conf: bytes = b""
    """Its ``/etc/resolv.conf``."""


class _Keeper:
    """The process beside this one that connects sandboxes."""

    def __init__(self) -> None:
        self._orders, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            user = (str(USER),) if os.geteuid() == 0 else ()
            self._process = subprocess.Popen(
                (sys.executable, "-I", "-S", str(_KEEPER), str(its.fileno()), *user),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # wardens outlive the runner, and a reader of its output waits for its end
                pass_fds=(its.fileno(),),
                cwd="/",
                env={"PATH": program_path()},
                start_new_session=True,  # Ctrl-C in the terminal must reach only the runner
            )

    def send(self, order: bytes, descriptors: list[int]) -> None:
        """Hand over an order. Raises ``ConnectionError`` if the process has ended."""
        socket.send_fds(self._orders, [order], descriptors)

    def end(self) -> None:
        """Let the process end, and wait for it."""
        self._orders.close()
        self._process.wait()


class BubbleNetworks:
    """Gives sandboxes of one runner their networks."""

    def __init__(self, *, opened: tuple[str, ...] = (), network: str = "", tools: NetworkTools | None = None) -> None:
        """
        Args:
            opened: what the operator opens, see ``guest.firewall.openings``.
            network: the network of runs.
        """
        self._opened_texts = opened
        self._network = network
        self._tools = tools or find_tools()
        self._opened: tuple[Opening, ...] = ()
        self._looked_up_at: float | None = None
        self._looking_up = asyncio.Lock()
        self._keeper: _Keeper | None = None
        self._starting = Lock()

    @property
    def lack(self) -> Lack | None:
        """Why runs cannot have their network; None: they can."""
        return None if self._network in ("none", SHARED) else self._tools.lack

    @property
    def unenforced(self) -> tuple[str, ...]:
        """What is not enforced, as sentences for the operator."""
        if self._network != SHARED:
            return ()
        return (
            "The network is not isolated (FASTFLOW_NETWORK=host): a script reaches everything that this machine "
            "reaches, the bus included.",
        )

    async def plan(self, network: str, reach: tuple[str, ...] | None) -> NetworkPlan:
        """Return the network of a sandbox.

        Args:
            network: see ``SandboxSpec``.
            reach: see ``SandboxSpec``.

        Raises:
            SandboxError: it cannot be made here, or *reach* has what has no address or is closed to runs.
        """
        if network == "none":
            return NetworkPlan()
        if network == SHARED and reach is None:
            return NetworkPlan(is_shared=True, resolv_conf="".join(await asyncio.to_thread(_resolv_conf)).encode())
        if self._tools.lack is not None:
            raise SandboxError(str(self._tools.lack))
        opened = await self._openings()
        own, lines = await asyncio.to_thread(lambda: (own_addresses(), _resolv_conf()))
        if reach is None:
            others = (line for line in lines if not line.startswith("nameserver"))
            names = "".join((f"nameserver {NAME_SERVER}\n", *others))
            return NetworkPlan(rules=open_rules(opened, own), resolv_conf=names.encode())
        try:
            found = await asyncio.to_thread(lambda: tuple(find(reach, opened, own)))
        except (FirewallFailed, BadDestination) as error:
            raise SandboxError(str(error)) from None
        hosts = tuple(dict.fromkeys(f"{name}:{address}" for name, address, _ in found))
        return NetworkPlan(rules=listed_rules((address, port) for _, address, port in found), hosts=hosts)

    async def is_current(self, plan: NetworkPlan, network: str, reach: tuple[str, ...] | None) -> bool:
        """Return whether a sandbox opened now would get *plan* too: addresses of this machine and of names change.

        The other arguments are those of ``plan``. False also if it could not be made now.
        """
        try:
            return plan == await self.plan(network, reach)
        except SandboxError:
            return False

    def take_other_helper(self) -> bool:
        """Use the other helper from now on, because the one in use does not work; return whether there is another."""
        if not self._tools.others:
            return False
        self._tools = replace(self._tools, helper=self._tools.others[0], others=self._tools.others[1:])
        return True

    async def join(self, pid: int, plan: NetworkPlan) -> None:
        """Connect a sandbox whose process *pid* waits before its first instruction. Its end ends the connection.

        Raises:
            NetworkFailed: it could not be connected.
        """
        if (joining := await self.begin_join(pid, plan)) is not None:
            await joining

    async def begin_join(self, pid: int, plan: NetworkPlan) -> asyncio.Task[None] | None:
        """Begin to connect it. When this returns the process may go on; it is connected when the task is done.

        Raises:
            NetworkFailed: it could not be connected; the task raises it too.
        """
        if not plan.rules:
            return None
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            # Shielded, because the thread goes on in any case, and closes what it was given.
            await asyncio.shield(asyncio.to_thread(self._order, pid, plan, theirs))
        except BaseException as error:
            ours.close()
            if isinstance(error, OSError):
                is_over = isinstance(error, ProcessLookupError) or str(error.filename).startswith("/proc/")
                raise NetworkFailed("sandbox" if is_over else "keeper", str(error)) from error
            raise
        return asyncio.create_task(_answered(ours), name=f"network of {pid}")

    async def close(self) -> None:
        """End the keeper. Networks remain as long as their sandboxes."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await asyncio.to_thread(keeper.end)

    async def _openings(self) -> tuple[Opening, ...]:
        """Return what the operator opens, with its names looked up."""
        async with self._looking_up:
            if self._looked_up_at is None or monotonic() - self._looked_up_at > NAMES_S:
                self._opened = await asyncio.to_thread(lambda: tuple(looked_up(self._opened_texts)))
                self._looked_up_at = monotonic()
            return self._opened

    def _order(self, pid: int, plan: NetworkPlan, answer: socket.socket) -> None:
        """Ask the keeper for a network. Raises ``OSError``."""
        helper = self._tools.helper
        assert helper is not None
        order = msgspec.json.encode(
            {"rules": plan.rules, "helper": helper.command(names=not plan.hosts), "tells": helper.tells}
        )
        with ExitStack() as stack:
            stack.enter_context(answer)
            process = os.pidfd_open(pid)
            stack.callback(os.close, process)
            network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, network)
            owner = fcntl.ioctl(network, _NS_GET_USERNS)
            stack.callback(os.close, owner)
            descriptors = [process, network, owner, answer.fileno()]
            with self._starting:
                if self._keeper is None:
                    self._keeper = _Keeper()
                try:
                    self._keeper.send(order, descriptors)
                except ConnectionError:  # it was killed
                    self._keeper.end()
                    self._keeper = _Keeper()
                    self._keeper.send(order, descriptors)


async def _answered(answers: socket.socket) -> None:
    """Wait for the keeper's answer. Raises ``NetworkFailed`` if it is another than that all went well."""
    with answers:
        try:
            async with asyncio.timeout(JOIN_S):
                answer = await asyncio.get_running_loop().sock_recv(answers, _ANSWER_BYTES_MAX)
        except (OSError, TimeoutError) as error:
            raise NetworkFailed("keeper", str(error) or "it took too long") from error
    if answer != b"ok":
        word, _, why = answer.decode(errors="replace").partition(": ")
        part = next((each for each in NETWORK_PARTS if each == word), None)
        raise NetworkFailed(part or "keeper", why if part else "its keeper was killed")


def _resolv_conf() -> list[str]:
    """Return the lines of this machine's that say how names are looked up."""
    try:
        lines = Path("/etc/resolv.conf").read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [f"{line}\n" for line in lines if line.startswith(("nameserver", "search", "domain", "options"))]
