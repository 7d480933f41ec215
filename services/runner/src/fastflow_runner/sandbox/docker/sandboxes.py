"""The Docker backend: one hardened container per sandbox. The runner attaches to reach its supervisor. I/O.

This module calls the daemon (``calls``) with bodies of ``config``: create, attach, start, update, rename,
inspect, list, remove. Each is a separate step and can be repeated. The daemon never pulls an image or removes a
container by itself.

The attachment is raw and unlogged (log driver ``none``): output exists only in the supervisor's window, in transit, or
where the runner has stored it. ``OpenStdin`` without ``StdinOnce`` lets another runner attach after the first one
leaves. Containers on the network of runs, a bridge, cannot reach each other. ``firewall`` closes what else it must not
reach.

A frame asks a script to stop, never the daemon, so ``StopSignal`` is SIGKILL.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import ssl
from contextlib import suppress
from typing import Final
from urllib.parse import urlencode

import aiodocker
from aiodocker.exceptions import DockerError
from msgspec.structs import replace

from fastflow_contracts.log import get_logger
from fastflow_runner.sandbox import (
    AlreadyExists,
    Detached,
    Held,
    Missing,
    SandboxEnd,
    SandboxError,
    SandboxSpec,
)
from fastflow_runner.sandbox.docker.calls import TwoNetworks, answers, seen_through, state_of
from fastflow_runner.sandbox.docker.config import LABEL_SCOPE, LABEL_TOKEN, container_config, limits_config
from fastflow_runner.sandbox.docker.firewall import DestinationAddress, Firewall, Helpers
from fastflow_runner.sandbox.docker.networks import Networks
from fastflow_runner.sandbox.docker.stream import RawStream
from fastflow_runner.sandbox.naming import LABEL_PREPARER

END_TIMEOUT_S: Final = 2.0
REMOVAL_PAUSE_S: Final = 0.1
NETWORK_TRIES: Final = 5
_COMPLAINT_CHARS_MAX: Final = 500

log = get_logger(__name__)


class DockerSandboxes:
    """The containers of one installation on one daemon."""

    def __init__(
        self,
        *,
        scope: str,
        url: str | None = None,
        tls: ssl.SSLContext | None = None,
        unenforced: tuple[str, ...] = (),
    ) -> None:
        """Needs a running event loop.

        Args:
            scope: name of the installation.
            url: address of the daemon; default: ``DOCKER_HOST``, then the usual socket.
            tls: for a ``tcp://`` address.
            unenforced: what the daemon cannot do, as sentences.
        """
        self._scope = scope
        self._url = url or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        self._tls = tls
        self._docker = aiodocker.Docker(url=self._url, ssl_context=tls)
        self._networks = Networks(self._docker, scope)
        self._firewall: Firewall | None = None
        self._unenforced = unenforced

    @property
    def unenforced(self) -> tuple[str, ...]:
        """What this daemon cannot do, and what its firewall does not close at this moment."""
        return (*self._unenforced, *(self._firewall.unenforced if self._firewall else ()))

    def guard(self, image: str, *, runner: str, network: str, opened: tuple[str, ...]) -> Firewall:
        """Close the network of runs from now on, see ``Firewall``. Its ``keep`` must run."""
        labels = {LABEL_SCOPE: self._scope, LABEL_PREPARER: runner}
        helpers = Helpers(self._docker, image=image, labels=labels, attach=self._attach)
        self._firewall = Firewall(helpers, self._networks, network=network, opened=opened)
        self._networks.on_new = self._firewall.close
        return self._firewall

    async def open(self, spec: SandboxSpec) -> DockerChannel:
        for _ in range(NETWORK_TRIES):
            with suppress(TwoNetworks):
                return await self._open(spec)
            self._networks.forget(spec.network)
        raise SandboxError(f"Docker has several networks {spec.network}; remove all but one.")

    async def _open(self, spec: SandboxSpec) -> DockerChannel:
        token = secrets.token_bytes(16)
        labels = {**spec.labels, LABEL_SCOPE: self._scope, LABEL_TOKEN: token.hex()}
        await self._networks.ensure(spec.network)
        found = await self._look_up(spec)
        spec = replace(spec, hosts=tuple(sorted({f"{each.name}:{each.address}" for each in found})))
        async with answers(spec.name, conflict=AlreadyExists):
            container = await seen_through(
                self._docker.containers.create(container_config(spec, labels), name=spec.name)
            )
        stream: RawStream | None = None
        try:
            async with answers(spec.name):
                stream = await self._attach(spec.name)
                await container.start()
            if spec.reach and self._firewall is not None:
                await self._firewall.admit(container.id, spec.network, found)
        except BaseException as error:
            if stream is not None:
                await stream.close()
            self._networks.forget(spec.network)  # it may have been removed
            if not isinstance(error, asyncio.CancelledError):
                with suppress(SandboxError):
                    await self.remove(spec.name)
            raise
        return DockerChannel(self._docker, container.id, spec.name, token, stream)

    async def _look_up(self, spec: SandboxSpec) -> tuple[DestinationAddress, ...]:
        if not spec.reach:
            return ()
        if self._firewall is None:
            raise SandboxError(f"this runner has no firewall, so it cannot limit a run to {', '.join(spec.reach)}.")
        return await self._firewall.look_up(spec.network, spec.reach)

    async def limit(self, channel: DockerChannel, spec: SandboxSpec) -> None:
        """See ``WarmSandboxes``. Docker cannot lift a limit."""
        async with answers(channel.name):
            await self._docker._query_json(
                f"containers/{channel.container_id}/update", method="POST", data=limits_config(spec)
            )

    async def is_current(self, channel: DockerChannel, spec: SandboxSpec) -> bool:
        """See ``WarmSandboxes``. The rules of a network are those of all its containers, and change with it."""
        return True

    async def rename(self, channel: DockerChannel, name: str) -> None:
        """See ``WarmSandboxes``."""
        async with answers(name, conflict=AlreadyExists):
            await self._docker.containers.container(channel.container_id).rename(name)
        channel.name = name

    async def held(self) -> tuple[Held, ...]:
        filters = json.dumps({"label": [f"{LABEL_SCOPE}={self._scope}"]})
        async with answers("the list of sandboxes"):
            containers = await self._docker.containers.list(all=True, filters=filters)
        return tuple(
            Held(
                name=container["Names"][0].removeprefix("/"),
                labels=container["Labels"],
                running=container["State"] in ("running", "paused"),
            )
            for container in containers
        )

    async def attach(self, held: Held) -> DockerChannel:
        token = bytes.fromhex(held.labels[LABEL_TOKEN])
        stream: RawStream | None = None
        if (await state_of(self._docker, held.name))["Running"]:
            async with answers(held.name):
                stream = await self._attach(held.name)
            # An attachment to a container that has just ended would never end.
            if not (await state_of(self._docker, held.name))["Running"]:
                await stream.close()
                stream = None
        return DockerChannel(self._docker, held.name, held.name, token, stream)

    async def remove(self, name: str) -> None:
        container = self._docker.containers.container(name)
        with suppress(Missing):
            async with answers(name):
                while True:
                    try:
                        await container.delete(force=True, v=True)
                        return
                    except DockerError as error:
                        if error.status != 409:  # another call is removing it, and may fail
                            raise
                    await asyncio.sleep(REMOVAL_PAUSE_S)

    async def close(self) -> None:
        await self._docker.close()

    async def _attach(self, name: str) -> RawStream:
        query = urlencode({"stream": 1, "stdin": 1, "stdout": 1, "stderr": 1, "logs": 0})
        path = f"/{self._docker.api_version}/containers/{name}/attach?{query}"
        return await RawStream.attach(self._url, path, self._tls)


class DockerChannel:
    """An attachment to one container. It has no stream if the container had already ended."""

    def __init__(
        self, docker: aiodocker.Docker, container_id: str, name: str, token: bytes, stream: RawStream | None
    ) -> None:
        self._docker = docker
        self.container_id = container_id
        """The daemon's id for the container, independent of its current name."""
        self.name = name
        self._token = token
        self._stream = stream

    @property
    def is_over(self) -> bool:
        """Whether the daemon has ended the stream: nothing more can be sent or received."""
        return self._stream is None or self._stream.is_over

    @property
    def removable_as(self) -> str:
        return self.container_id

    @property
    def token(self) -> bytes:
        return self._token

    async def send(self, data: bytes) -> None:
        if self._stream is None:
            raise Detached(f"the channel to {self.name} is closed.")
        try:
            await self._stream.write(data)
        except OSError as error:
            raise Detached(f"the channel to {self.name} broke: {error}.") from error

    async def receive(self) -> bytes:
        while self._stream is not None:
            try:
                pieces = await self._stream.read()
            except OSError as error:
                log.warning("sandbox channel lost", sandbox=self.name, error=str(error))
                return b""
            if not pieces:
                break
            for stream, data in pieces:
                if stream == 2:
                    complaint = data.decode(errors="replace").strip()[:_COMPLAINT_CHARS_MAX]
                    log.warning("supervisor message received", sandbox=self.name, text=complaint)
            if said := b"".join(data for stream, data in pieces if stream == 1):
                return said
        return b""

    async def wait(self) -> SandboxEnd:
        """Wait up to ``END_TIMEOUT_S``: the stream ends a moment before the daemon knows the exit."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(END_TIMEOUT_S):
                    async with answers(self.name):
                        await self._docker.containers.container(self.container_id).wait()
            state = await state_of(self._docker, self.container_id)
        except Missing:
            return SandboxEnd(exit_code=None, oom_killed=False)
        if state["Running"]:
            raise Detached(f"the sandbox {self.name} still runs; attach again.")
        code = None if state["Status"] == "created" else int(state["ExitCode"])
        return SandboxEnd(exit_code=code, oom_killed=bool(state["OOMKilled"]))

    async def close(self) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await stream.close()
