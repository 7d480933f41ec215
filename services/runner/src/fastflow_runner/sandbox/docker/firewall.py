"""Closes the networks of runs to this host, to private networks and to the link, where the daemon lets us. I/O.

The rules are those of ``guest.firewall``, in the kernel of the daemon's host, where no run can change them. A
short-lived container of the worker image puts them in place, through the daemon: the runner itself needs no rights on
that host, which may be another machine. It does so whenever a network of runs is new, and every ``check_s``, because a
reboot or somebody's ``nft flush ruleset`` removes rules.

There are two networks. On the usual one, runs reach the internet and what the operator opens. On the other one, a run
reaches nothing but what was admitted for its address after it started and before it got its job.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

import aiodocker

from fastflow_contracts.log import get_logger
from fastflow_runner.sandbox import DaemonUnreachable, SandboxError
from fastflow_runner.sandbox.docker.calls import answers, seen_through
from fastflow_runner.sandbox.docker.config import FIREWALL_PREFIX, firewall_config, listed_network
from fastflow_runner.sandbox.docker.networks import Network, Networks
from fastflow_runner.sandbox.docker.stream import RawStream

AGAIN_S: Final = 30.0
"""Pause after a failure that may be over soon."""
ANSWER_BYTES_MAX: Final = 1024 * 1024

log = get_logger(__name__)


class DestinationAddress(NamedTuple):
    """One address of a destination."""

    name: str
    address: str
    port: int


class Helpers:
    """Runs one command of ``guest.firewall`` on the daemon's host."""

    def __init__(
        self,
        docker: aiodocker.Docker,
        *,
        image: str,
        labels: dict[str, str],
        attach: Callable[[str], Awaitable[RawStream]],
    ) -> None:
        self._docker = docker
        self._image = image
        self._labels = labels
        self._attach = attach

    async def run(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Run *command* and return its answer. Raises ``SandboxError``."""
        name = f"{FIREWALL_PREFIX}{secrets.token_hex(8)}"
        body = firewall_config(self._image, self._labels, command)
        try:
            async with answers("the firewall's container"):
                container = await seen_through(self._docker.containers.create(body, name=name))
                stream = await self._attach(name)
                try:
                    await container.start()
                    said = await _read(stream)
                finally:
                    await stream.close()
        finally:
            await self._remove(name)
        try:
            answer: dict[str, Any] = json.loads(said)
        except ValueError as error:
            raise SandboxError(f"the firewall's container ended with {said[-200:]!r}.") from error
        if "error" in answer:
            raise SandboxError(str(answer["error"]))
        return answer

    async def address(self, container_id: str, network: str) -> str:
        """Return the address of a running container. Raises ``SandboxError``."""
        async with answers(container_id):
            shown = await self._docker.containers.container(container_id).show()
        return str(shown["NetworkSettings"]["Networks"][network]["IPAddress"])

    async def _remove(self, name: str) -> None:
        async def remove() -> None:
            # What cannot be removed goes with the preparers of this runner, whose label it has.
            with suppress(SandboxError):
                async with answers(name):
                    await self._docker.containers.container(name).delete(force=True, v=True)

        await asyncio.shield(asyncio.create_task(remove(), name=f"remove-{name}"))


class Firewall:
    """The rules of the networks of one runner's runs."""

    def __init__(self, helpers: Helpers, networks: Networks, *, network: str, opened: tuple[str, ...]) -> None:
        """
        Args:
            network: the network of runs.
            opened: what the operator opens, see ``guest.firewall.openings``.
        """
        self._helpers = helpers
        self._networks = networks
        self._kinds = {} if network == "none" else {network: "open", listed_network(network): "listed"}
        self._opened = list(opened)
        self._closed: frozenset[str] = frozenset()
        """Ids of the networks whose rules were in place at the last look."""
        self._reason = ""
        self._closing = asyncio.Lock()
        self._failed = asyncio.Event()

    @property
    def unenforced(self) -> tuple[str, ...]:
        """Why runs reach what they should not, in one sentence; empty if they do not."""
        if not self._reason:
            return ()
        return (
            "Runs reach services of their machine, private networks and cloud metadata, because the firewall "
            f"could not be set ({self._reason}).",
        )

    async def close(self) -> None:
        """Put the rules of all networks in place. A failure is remembered, not raised."""
        async with self._closing:
            try:
                reason = await self._close()
            except SandboxError as error:
                reason = str(error).rstrip(".")
                self._closed = frozenset()
        if reason != self._reason:
            (log.warning if reason else log.info)("firewall changed", reason=reason or "closed")
        self._reason = reason
        if reason:
            self._failed.set()

    async def _close(self) -> str:
        found = {kind: await self._networks.find(name) for name, kind in self._kinds.items()}
        others = [name for name, kind in self._kinds.items() if (it := found[kind]) is not None and not it.is_ours]
        closing = {network.id: kind for kind, network in found.items() if network is not None and network.is_ours}
        if closing:
            await self._helpers.run({"close": closing, "open": self._opened})
        self._closed = frozenset(closing)
        made = f"the network {', '.join(others)} was not made by Fast-Flow, so its rules are its maker's"
        return made if others else ""

    async def keep(self, check_s: float) -> None:
        """Put the rules in place every *check_s* seconds, and sooner after a failure, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(check_s):
                    await self._failed.wait()
                    await asyncio.sleep(AGAIN_S)
            self._failed.clear()
            if self._kinds:
                await self.close()

    async def look_up(self, network: str, reach: tuple[str, ...]) -> tuple[DestinationAddress, ...]:
        """Return the addresses of *reach*, each ``host:port``.

        Raises:
            SandboxError: one has no address or is closed to runs, or the rules of *network* are not in place.
        """
        await self._closed_network(network)
        answer = await self._helpers.run({"look_up": list(reach), "open": self._opened})
        return tuple(DestinationAddress(*each) for each in answer["found"])

    async def admit(self, container_id: str, network: str, found: tuple[DestinationAddress, ...]) -> None:
        """Let a running container reach what was *found*, and nothing else. Raises ``SandboxError``."""
        to = sorted({(each.address, each.port) for each in found})
        closed = await self._closed_network(network)
        source = await self._helpers.address(container_id, network)
        await self._helpers.run({"admit": closed.id, "source": source, "to": to, "open": self._opened})

    async def _closed_network(self, name: str) -> Network:
        network = await self._networks.find(name)
        if network is None:
            raise DaemonUnreachable(f"the network {name} was removed.")
        if network.id not in self._closed:
            await self.close()
        if network.id not in self._closed:
            raise SandboxError(f"it lists what it may reach, and nothing can hold it to that: {self._reason}.")
        return network


async def _read(stream: RawStream) -> str:
    said = bytearray()
    while pieces := await stream.read():
        said += b"".join(data for _, data in pieces)
        if len(said) > ANSWER_BYTES_MAX:
            break
    return said.decode(errors="replace")
