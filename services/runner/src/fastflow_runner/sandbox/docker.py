"""The Docker backend: one hardened container per sandbox. The runner attaches to reach its supervisor. I/O.

This module calls the daemon (``docker_calls``) with bodies of ``docker_config``: create, attach, start, update, rename,
inspect, list, remove. Each is a separate step and can be repeated. The daemon never pulls an image or removes a
container by itself.

The attachment is raw and unlogged (log driver ``none``): output exists only in the supervisor's window, in transit, or
where the runner has stored it. ``OpenStdin`` without ``StdinOnce`` lets another runner attach after the first one
leaves. Containers on the network of runs, a bridge, cannot reach each other. The host's firewall must block access
to services of the host (INPUT, not DOCKER-USER).

A frame asks a script to stop, never the daemon, so ``StopSignal`` is SIGKILL.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import ssl
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlencode

import aiodocker
from aiodocker.exceptions import DockerError

from fastflow_contracts.log import get_logger
from fastflow_runner.sandbox import (
    Detached,
    Held,
    Missing,
    SandboxEnd,
    SandboxError,
    SandboxSpec,
)
from fastflow_runner.sandbox.docker_calls import NameTaken, TwoNetworks, answers, seen_through, state_of
from fastflow_runner.sandbox.docker_config import (
    LABEL_SCOPE,
    LABEL_TOKEN,
    container_config,
    limits_config,
    network_config,
)
from fastflow_runner.sandbox.docker_stream import RawStream

END_TIMEOUT_S: Final = 2.0
NETWORK_PAUSE_S: Final = 0.1
REMOVAL_PAUSE_S: Final = 0.1
NETWORK_TRIES: Final = 5
_COMPLAINT_CHARS_MAX: Final = 500

log = get_logger(__name__)


class DockerSandboxes:
    """The containers of one installation on one daemon."""

    def __init__(self, *, scope: str, url: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        """Needs a running event loop.

        Args:
            scope: name of the installation.
            url: address of the daemon; default: ``DOCKER_HOST``, then the usual socket.
            tls: for a ``tcp://`` address.
        """
        self._scope = scope
        self._url = url or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        self._tls = tls
        self._docker = aiodocker.Docker(url=self._url, ssl_context=tls)
        self._networks: set[str] = set()
        self._making_network = asyncio.Lock()

    @property
    def unenforced(self) -> tuple[str, ...]:
        return ()

    async def open(self, spec: SandboxSpec) -> DockerChannel:
        for _ in range(NETWORK_TRIES):
            with suppress(TwoNetworks):
                return await self._open(spec)
            self._networks.discard(spec.network)
        raise SandboxError(f"Docker has several networks {spec.network}; remove all but one.")

    async def _open(self, spec: SandboxSpec) -> DockerChannel:
        token = secrets.token_bytes(16)
        labels = {**spec.labels, LABEL_SCOPE: self._scope, LABEL_TOKEN: token.hex()}
        await self._ensure_network(spec.network)
        async with answers(spec.name):
            container = await seen_through(
                self._docker.containers.create(container_config(spec, labels), name=spec.name)
            )
        stream: RawStream | None = None
        try:
            async with answers(spec.name):
                stream = await self._attach(spec.name)
                await container.start()
        except BaseException as error:
            if stream is not None:
                await stream.close()
            self._networks.discard(spec.network)  # it may have been removed
            if not isinstance(error, asyncio.CancelledError):
                with suppress(SandboxError):
                    await self.remove(spec.name)
            raise
        return DockerChannel(self._docker, container.id, spec.name, token, stream)

    async def limit(self, channel: DockerChannel, spec: SandboxSpec) -> None:
        """Set the limits of *spec* on a running sandbox. It cannot lift a limit.

        Raises ``Missing``, ``DaemonUnreachable``, ``SandboxError``.
        """
        async with answers(channel.name):
            await self._docker._query_json(
                f"containers/{channel.container_id}/update", method="POST", data=limits_config(spec)
            )

    async def rename(self, channel: DockerChannel, name: str) -> None:
        """Rename a sandbox. Raises ``AlreadyExists``, ``Missing``, ``DaemonUnreachable``, ``SandboxError``."""
        async with answers(name):
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

    async def _ensure_network(self, name: str) -> None:
        if name == "none" or name in self._networks:
            return
        async with self._making_network, answers(f"the network {name}"):
            if not await self._networks_called(name):
                await self._create_network(name)
            while len(await self._networks_called(name)) > 1:  # noqa: ASYNC110 - the daemon has no event for it
                await asyncio.sleep(NETWORK_PAUSE_S)
        self._networks.add(name)

    async def _create_network(self, name: str) -> None:
        """Create the network. If two runners do so at once, Docker creates two of one name; remove the later one."""
        with suppress(NameTaken):
            made = await self._post_network(name)
            first, *_ = sorted((each["Created"], each["Id"]) for each in await self._networks_called(name))
            if first[1] != made:
                await self._docker._query_json(f"networks/{made}", method="DELETE")

    async def _networks_called(self, name: str) -> list[dict[str, Any]]:
        filters = json.dumps({"name": [name]})
        found: list[dict[str, Any]] = await self._docker._query_json("networks", params={"filters": filters})
        return [each for each in found if each["Name"] == name]

    async def _post_network(self, name: str) -> str:
        try:
            answer = await self._docker._query_json(
                "networks/create", method="POST", data=network_config(name, self._scope)
            )
        except DockerError as error:
            if error.status == 409:
                raise NameTaken from error
            raise
        return str(answer["Id"])


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
