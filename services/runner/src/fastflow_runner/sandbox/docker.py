"""The Docker backend: one hardened container per sandbox. The runner attaches to reach its supervisor. I/O.

This module holds the container's configuration and the calls to the daemon: create, attach, start, update, rename,
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
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import aiodocker
import aiohttp
from aiodocker.exceptions import DockerError

from fastflow_contracts.log import get_logger
from fastflow_runner.sandbox import (
    AlreadyExists,
    DaemonUnreachable,
    Detached,
    Held,
    ImageMissing,
    Missing,
    Mount,
    SandboxEnd,
    SandboxError,
    SandboxSpec,
)
from fastflow_runner.sandbox.docker_stream import RawStream, UpgradeRefused

LABEL_SCOPE: Final = "fastflow.scope"
LABEL_TOKEN: Final = "fastflow.token"  # noqa: S105 - tells two sandboxes apart; no secret
CALL_TIMEOUT_S: Final = 60.0
END_TIMEOUT_S: Final = 2.0
NETWORK_PAUSE_S: Final = 0.1
REMOVAL_PAUSE_S: Final = 0.1
NETWORK_TRIES: Final = 5
LAST_CALL_S: Final = 10.0
_NO_ANSWER: Final = frozenset({0, 502, 503, 504, 900})
"""Statuses that do not come from the daemon: it closed the connection (0), or a proxy or aiodocker (900) could not reach it."""
SHM_BYTES: Final = 1 << 40
"""Size of /dev/shm: no separate bound. What a script puts there counts as its memory, which has a limit; and the
limit of a warm sandbox changes when a run takes it, while this size cannot.
"""
_COMPLAINT_CHARS_MAX: Final = 500

log = get_logger(__name__)
_T = TypeVar("_T")


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
            with suppress(_TwoNetworks):
                return await self._open(spec)
            self._networks.discard(spec.network)
        raise SandboxError(f"Docker has several networks {spec.network}; remove all but one.")

    async def _open(self, spec: SandboxSpec) -> DockerChannel:
        token = secrets.token_bytes(16)
        labels = {**spec.labels, LABEL_SCOPE: self._scope, LABEL_TOKEN: token.hex()}
        await self._ensure_network(spec.network)
        async with _answers(spec.name):
            container = await _seen_through(
                self._docker.containers.create(container_config(spec, labels), name=spec.name)
            )
        stream: RawStream | None = None
        try:
            async with _answers(spec.name):
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
        async with _answers(channel.name):
            await self._docker._query_json(
                f"containers/{channel.container_id}/update", method="POST", data=_limits(spec)
            )

    async def rename(self, channel: DockerChannel, name: str) -> None:
        """Rename a sandbox. Raises ``AlreadyExists``, ``Missing``, ``DaemonUnreachable``, ``SandboxError``."""
        async with _answers(name):
            await self._docker.containers.container(channel.container_id).rename(name)
        channel.name = name

    async def held(self) -> tuple[Held, ...]:
        filters = json.dumps({"label": [f"{LABEL_SCOPE}={self._scope}"]})
        async with _answers("the list of sandboxes"):
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
        if (await _state(self._docker, held.name))["Running"]:
            async with _answers(held.name):
                stream = await self._attach(held.name)
            # An attachment to a container that has just ended would never end.
            if not (await _state(self._docker, held.name))["Running"]:
                await stream.close()
                stream = None
        return DockerChannel(self._docker, held.name, held.name, token, stream)

    async def remove(self, name: str) -> None:
        container = self._docker.containers.container(name)
        with suppress(Missing):
            async with _answers(name):
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
        async with self._making_network, _answers(f"the network {name}"):
            if not await self._networks_called(name):
                await self._create_network(name)
            while len(await self._networks_called(name)) > 1:  # noqa: ASYNC110 - the daemon has no event for it
                await asyncio.sleep(NETWORK_PAUSE_S)
        self._networks.add(name)

    async def _create_network(self, name: str) -> None:
        """Create the network. If two runners do so at once, Docker creates two of one name; remove the later one."""
        with suppress(_NameTaken):
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
                raise _NameTaken from error
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
            raise Detached(f"The channel to {self.name} is closed.")
        try:
            await self._stream.write(data)
        except OSError as error:
            raise Detached(f"The channel to {self.name} broke: {error}.") from error

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
                    async with _answers(self.name):
                        await self._docker.containers.container(self.container_id).wait()
            state = await _state(self._docker, self.container_id)
        except Missing:
            return SandboxEnd(exit_code=None, oom_killed=False)
        if state["Running"]:
            raise Detached(f"The sandbox {self.name} still runs; attach again.")
        code = None if state["Status"] == "created" else int(state["ExitCode"])
        return SandboxEnd(exit_code=code, oom_killed=bool(state["OOMKilled"]))

    async def close(self) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await stream.close()


class _TwoNetworks(SandboxError):
    """Two runners created the network at once; one of them is about to remove its own."""


class _NameTaken(Exception):
    """Another runner created the network first."""


@asynccontextmanager
async def _answers(what: str) -> AsyncIterator[None]:
    """Limit the duration of a call to the daemon, and translate its failures to ``SandboxError``."""
    try:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            yield
    except (DockerError, UpgradeRefused) as error:
        text = error.message if isinstance(error, DockerError) else str(error)
        if error.status in _NO_ANSWER:
            raise DaemonUnreachable(f"Docker does not answer: {text}") from error
        if error.status == 404 and "image" in text.lower():
            raise ImageMissing(f"Docker does not have the image: {text}") from error
        if error.status == 404:
            raise Missing(f"Docker does not know {what}: {text}") from error
        if error.status == 409:
            raise AlreadyExists(f"Docker refuses {what}: {text}") from error
        if "is ambiguous" in text:
            raise _TwoNetworks(text) from error
        raise SandboxError(f"Docker refuses {what}: {text}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise DaemonUnreachable(f"Docker did not answer about {what}: {error or 'time is up'}") from error


async def _seen_through(call: Coroutine[Any, Any, _T]) -> _T:
    """Await *call* even when cancelled: an abandoned call still takes effect, possibly after we look for its result."""
    calling = asyncio.create_task(call, name="docker-call")
    try:
        return await asyncio.shield(calling)
    except asyncio.CancelledError:
        with suppress(DockerError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(LAST_CALL_S):
                await calling
        raise


async def _state(docker: aiodocker.Docker, name: str) -> dict[str, Any]:
    """Return the daemon's ``State`` of a container. Raises ``Missing``, ``DaemonUnreachable``."""
    async with _answers(name):
        shown = await docker.containers.container(name).show()
    state: dict[str, Any] = shown["State"]
    return state


def container_config(spec: SandboxSpec, labels: dict[str, str]) -> dict[str, Any]:
    """Return the body of the daemon's create call for a sandbox. The proxy allows no other body."""
    host: dict[str, Any] = {
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "Privileged": False,
        "ReadonlyRootfs": True,
        # exec: Python loads compiled extensions of packages from here.
        "Tmpfs": {
            "/tmp": f"rw,nosuid,nodev,exec,size={spec.tmp_bytes},mode=1777",  # noqa: S108 - the sandbox's own
            "/work": f"rw,nosuid,nodev,exec,size={spec.work_bytes},uid={spec.user},gid={spec.user},mode=0755",
        },
        "Mounts": [_mount(mount) for mount in spec.mounts],
        "PidsLimit": spec.processes_max,
        "OomScoreAdj": 500,
        "Ulimits": [
            {"Name": "core", "Soft": 0, "Hard": 0},
            {"Name": "nofile", "Soft": 4096, "Hard": 4096},
        ],
        "LogConfig": {"Type": "none"},
        "IpcMode": "private",
        "ShmSize": SHM_BYTES,
        "NetworkMode": spec.network,
        "RestartPolicy": {"Name": "no"},
        "AutoRemove": False,
    }
    host |= _limits(spec)
    return {
        "Image": spec.image,
        "Labels": labels,
        "User": f"{spec.user}:{spec.user}",
        "Env": [f"{name}={value}" for name, value in spec.env.items()],
        "OpenStdin": True,
        "StdinOnce": False,
        "Tty": False,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "StopSignal": "SIGKILL",
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": host,
    }


def network_config(name: str, scope: str) -> dict[str, Any]:
    """Return the body of the call that creates the network of runs: a bridge that isolates its containers."""
    return {
        "Name": name,
        "Driver": "bridge",
        "CheckDuplicate": True,
        "Options": {"com.docker.network.bridge.enable_icc": "false"},
        "Labels": {LABEL_SCOPE: scope},
    }


def _limits(spec: SandboxSpec) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if spec.memory_bytes is not None:
        limits |= {"Memory": spec.memory_bytes, "MemorySwap": spec.memory_bytes}
    if spec.cpu_cores is not None:
        limits |= {"NanoCpus": round(spec.cpu_cores * 1e9)}
    return limits


def _mount(mount: Mount) -> dict[str, Any]:
    return {
        "Type": "bind" if mount.source.startswith("/") else "volume",
        "Source": mount.source,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
    }
