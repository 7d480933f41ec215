"""The interface of a sandbox, the isolated place where user code runs. No implementation.

**Sandbox.** A sandbox has one supervisor (``guest.supervisor``) as its first process. It serves one attempt of one
run and is never reused. The backends are ``docker``, ``bubble`` and ``process``;
``dummy`` only simulates.

**Names.** The name identifies the attempt (``naming``). Opening a second sandbox with the same name raises
``AlreadyExists``, even if several runners share the daemon. This is the last guard against executing an attempt twice
at once. The name becomes free only after ``remove``.

**Opening.** ``open`` creates, attaches, then starts, so no byte of the supervisor is lost. A sandbox that fails to
start is removed. If ``open`` is cancelled, the sandbox may remain; ``held`` finds it. ``open`` never pulls or builds
an image: a missing image raises ``ImageMissing``.

**Channels.** A channel carries the supervisor's bytes in order, with back-pressure in both directions: if the receiver
stops, the sandbox waits and memory does not grow. A channel does not know frames. Closing it only detaches: the
sandbox continues, and ``attach`` opens another channel. The backend drops output sent in between, and the supervisor
repeats it. At most one channel is *used* at a time: the latest.

**Restarts.** Docker and bubble sandboxes outlive their runner. ``held`` finds all sandboxes of this installation (its
``scope`` on this daemon, or its directory), running or ended, with their original labels. A restarted runner knows only
names and labels. Process sandboxes die with their runner, which lists only its own.

**End.** When ``receive`` returns ``b""``, the channel is over. ``wait`` then returns how the sandbox ended, or raises
``Detached`` if it is still running. An ended sandbox keeps its name and its ``SandboxEnd`` until ``remove``. ``remove``
also kills, can be repeated, and does not fail if the sandbox is missing.

**Errors.** A failing script is not an error here. ``SandboxError`` and its subclasses report problems with the sandbox.
``DaemonUnreachable`` means that the daemon did not answer: the call may or may not have taken effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

from fastflow_runner.errors import RunnerError

MIB: Final = 1024 * 1024
USER: Final = 65532
"""The user id of runs, and the owner of the environment store."""


class Mount(msgspec.Struct, frozen=True):
    """A host directory (absolute *source*) or a named volume, mounted at *target*."""

    source: str
    target: str
    read_only: bool = True


class SandboxSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Configuration of a sandbox. Never put secrets here: ``docker inspect`` shows all of it."""

    name: str
    labels: Mapping[str, str] = {}
    """``held`` returns them."""
    image: str = ""
    mounts: tuple[Mount, ...] = ()
    network: str = "none"
    """``none``, or the name of the network of runs. The backend creates it if it does not exist."""
    reach: tuple[str, ...] | None = None
    """What a pipeline limits itself to: each ``host:port``, or nothing at all (with the network ``none``). None: it
    does not limit itself. A backend that cannot hold it to this raises ``SandboxError``.
    """
    hosts: tuple[str, ...] = ()
    """``name:address`` of all names that it can look up, where it cannot ask a name server. Set by the backend."""
    runtime: str = ""
    """The container runtime; empty: the daemon's usual one."""
    own_seccomp: bool = True
    """Whether system calls are filtered by our profile, not Docker's."""
    memory_bytes: int | None = None
    cpu_cores: float | None = None
    processes_max: int = 512
    user: int = USER
    """User and group id of all processes inside. The image needs no name for it."""
    tmp_bytes: int = 256 * MIB
    work_bytes: int = 512 * MIB
    files_max: int = 250_000
    """Of each of the file systems in memory."""
    env: Mapping[str, str] = {}
    """Base of the script's environment. Variables of the job override it."""


class Held(msgspec.Struct, frozen=True):
    """An existing sandbox of this installation."""

    name: str
    labels: Mapping[str, str]
    running: bool


class SandboxEnd(msgspec.Struct, frozen=True):
    """How a sandbox ended.

    ``exit_code`` is that of the first process, None if the sandbox no longer exists. ``oom_killed``: the kernel killed
    a process in the sandbox because memory ran out.
    """

    exit_code: int | None
    oom_killed: bool


class SandboxError(RunnerError):
    """A problem with the sandbox, not with the script."""


class AlreadyExists(SandboxError):
    """A sandbox with this name already exists."""


class Missing(SandboxError):
    """No sandbox with this name exists."""


class ImageMissing(SandboxError):
    """The daemon does not have the image. ``open`` does not pull it."""


class DaemonUnreachable(SandboxError):
    """The daemon did not answer. The call may or may not have taken effect."""


class Detached(SandboxError):
    """The channel is over but the sandbox is still running: attach again."""


class Channel(Protocol):
    """The byte stream to and from the supervisor of one sandbox."""

    @property
    def token(self) -> bytes:
        """16 random bytes, created by ``open`` and the same in every channel to this sandbox."""

    async def send(self, data: bytes) -> None:
        """Write all of *data* contiguously, waiting for buffer space. Raises ``Detached``, ``DaemonUnreachable``."""

    async def receive(self) -> bytes:
        """Return the next bytes, or ``b""`` at the end. For one caller at a time."""

    async def wait(self) -> SandboxEnd:
        """Return how the sandbox ended. Raises ``Detached`` if it is still running, ``DaemonUnreachable``."""

    async def close(self) -> None:
        """Detach. The sandbox continues. Can be repeated."""


class Sandboxes(Protocol):
    """A backend. It lives as long as the runner."""

    @property
    def unenforced(self) -> tuple[str, ...]:
        """What this backend does not enforce now, as sentences for the operator. Empty if it enforces everything."""

    async def open(self, spec: SandboxSpec) -> Channel:
        """Create and start a sandbox.

        Raises:
            AlreadyExists: a sandbox with this name exists.
            ImageMissing: the daemon does not have the image.
            DaemonUnreachable: the daemon did not answer.
            SandboxError: the sandbox could not be created or started, or cannot be limited to what the pipeline lists.
        """

    async def held(self) -> tuple[Held, ...]:
        """List all sandboxes of this installation, running or ended. Raises ``DaemonUnreachable``."""

    async def attach(self, held: Held) -> Channel:
        """Open a channel to an existing sandbox, running or ended. Raises ``Missing``, ``DaemonUnreachable``."""

    async def remove(self, name: str) -> None:
        """Kill and remove the sandbox. Can be repeated. Raises ``DaemonUnreachable``."""

    async def close(self) -> None:
        """Disconnect from the daemon. Sandboxes that can outlive their runner remain."""
