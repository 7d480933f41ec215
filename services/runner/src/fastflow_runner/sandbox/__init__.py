"""Where user code runs: the contract of a sandbox, without an implementation.

**A sandbox** is a place with one supervisor (``guest.supervisor``) as its first process, made for one attempt of
one run and never used again. Two backends make them, ``docker`` and ``process``; ``dummy`` pretends to.

**The name is the attempt** (``naming``). Opening a second sandbox of a name raises ``AlreadyExists``, however many
runners share the daemon: this is the last guard against an attempt that is carried out twice at once. The name is
free again only after ``remove``.

**Open** means: created, attached to, started, in this order, so that no byte of the supervisor is lost. A
sandbox that could not be started is removed again; one whose opening was cancelled may remain and is found by
``held``. Nothing is pulled or built on the way: a missing image is ``ImageMissing``.

**A channel** carries the supervisor's bytes, in order and with back-pressure both ways: a receiver that stops
makes the sandbox wait, not the memory grow. It knows nothing of frames. Closing a channel detaches and harms
nothing; the sandbox goes on, and ``attach`` opens another. What the supervisor said meanwhile is dropped by the
backend and repeated by the supervisor. At most one channel is *used* at a time: the latest.

**The sandbox outlives its runner** where the backend can keep that (Docker). ``held`` finds all of this
installation (``scope``) on this daemon, running or ended, with the labels they were opened with; names and labels
are all that a restarted runner knows. The process backend's sandboxes die with their runner; it holds only its own.

**The end.** When ``receive`` gives ``b""`` the channel is over. ``wait`` then tells how the sandbox ended, or
raises ``Detached`` when it has not ended at all. An ended sandbox keeps its name and its ``Ended`` until
``remove``, which also kills, never fails because there is nothing to remove, and may be repeated.

**Errors.** A failing script is no error here. ``SandboxError`` and its subclasses are trouble with the place;
``Unreachable`` says that the daemon gave no answer and the call may or may not have had its effect.
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
    """One directory made visible at *target*: a host directory (absolute *source*) or a named volume."""

    source: str
    target: str
    read_only: bool = True


class SandboxSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a sandbox is opened with. Nothing here is secret: all of it shows in ``docker inspect``."""

    name: str
    labels: Mapping[str, str] = {}
    """Given back by ``held``."""
    image: str = ""
    mounts: tuple[Mount, ...] = ()
    network: str = "none"
    """``none``, or the name of the network for runs, which is made when it does not exist."""
    memory_bytes: int | None = None
    cpu_cores: float | None = None
    processes_max: int = 512
    user: int = USER
    """User and group id of everything inside; ids other than the default need no name in the image."""
    tmp_bytes: int = 256 * MIB
    work_bytes: int = 512 * MIB
    env: Mapping[str, str] = {}
    """Base of the script's environment, under the job's own."""


class Held(msgspec.Struct, frozen=True):
    """A sandbox of this installation that exists."""

    name: str
    labels: Mapping[str, str]
    running: bool


class Ended(msgspec.Struct, frozen=True):
    """How a sandbox ended: its first process' exit code (None: unknown, it is gone), and the kernel's word on
    whether anything in it was killed for want of memory."""

    exit_code: int | None
    oom_killed: bool


class SandboxError(RunnerError):
    """Trouble with the place, not with the script."""


class AlreadyExists(SandboxError):
    """There is a sandbox of this name."""


class Missing(SandboxError):
    """There is no sandbox of this name."""


class ImageMissing(SandboxError):
    """The daemon does not have the image; nothing pulls it on the way."""


class Unreachable(SandboxError):
    """The daemon did not answer; the call may or may not have had its effect."""


class Detached(SandboxError):
    """The channel is over, the sandbox is not: attach again."""


class Channel(Protocol):
    """The byte stream to and from the supervisor of one sandbox."""

    @property
    def token(self) -> bytes:
        """16 random bytes made at ``open`` and equal in every channel to this sandbox."""

    async def send(self, data: bytes) -> None:
        """Write all of *data*, contiguously, when there is room for it. Raises ``Detached`` or ``Unreachable``."""

    async def receive(self) -> bytes:
        """The next bytes, or ``b""`` when there will be none. For one caller at a time."""

    async def wait(self) -> Ended:
        """How the sandbox ended. Raises ``Detached`` when it is still running, ``Unreachable``."""

    async def close(self) -> None:
        """Detach. The sandbox goes on. May be repeated."""


class Sandboxes(Protocol):
    """One backend, for as long as the runner lives."""

    @property
    def unenforced(self) -> tuple[str, ...]:
        """What this backend does not enforce, in plain sentences for the operator; empty for a real sandbox."""

    async def open(self, spec: SandboxSpec) -> Channel:
        """Create and start. Raises ``AlreadyExists``, ``ImageMissing``, ``Unreachable``, ``SandboxError``."""

    async def held(self) -> tuple[Held, ...]:
        """Every sandbox of this installation, running or ended. Raises ``Unreachable``."""

    async def attach(self, held: Held) -> Channel:
        """A channel to an existing sandbox, running or ended. Raises ``Missing``, ``Unreachable``."""

    async def remove(self, name: str) -> None:
        """Kill and remove the sandbox. May be repeated. Raises ``Unreachable``."""

    async def close(self) -> None:
        """Disconnect from the daemon. Sandboxes that can outlive their runner stay."""
