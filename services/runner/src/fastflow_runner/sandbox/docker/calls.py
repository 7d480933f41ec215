"""One call to the Docker daemon: bounded in time, not abandoned, its failures translated to ``SandboxError``. I/O."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

import aiodocker
import aiohttp
from aiodocker.exceptions import DockerError

from fastflow_runner.sandbox import DaemonUnreachable, ImageMissing, Missing, SandboxError
from fastflow_runner.sandbox.docker.stream import UpgradeRefused

CALL_TIMEOUT_S: Final = 60.0
LAST_CALL_S: Final = 10.0
NO_ANSWER: Final = frozenset({0, 502, 503, 504, 900})
"""Statuses that do not come from the daemon: it closed the connection (0), or a proxy or aiodocker (900) did not reach
it.
"""

_T = TypeVar("_T")


class TwoNetworks(SandboxError):
    """Two runners created the network at once; one of them is about to remove its own."""


class NameTaken(Exception):
    """Another runner created the network first."""


@asynccontextmanager
async def answers(what: str, *, conflict: type[SandboxError] = SandboxError) -> AsyncIterator[None]:
    """Limit the duration of a call to the daemon, and translate its failures to ``SandboxError``.

    *conflict*: what a 409 means. It says that a name is taken only of a call that gives one.
    """
    try:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            yield
    except (DockerError, UpgradeRefused) as error:
        text = (error.message if isinstance(error, DockerError) else str(error)).rstrip(".")
        if error.status in NO_ANSWER:
            raise DaemonUnreachable(f"Docker does not answer: {text}.") from error
        if error.status == 404 and "image" in text.lower():
            raise ImageMissing(f"Docker does not have the image: {text}.") from error
        if error.status == 404:
            raise Missing(f"Docker does not know {what}: {text}.") from error
        if error.status == 409:
            raise conflict(f"Docker refuses {what}: {text}.") from error
        if "is ambiguous" in text:
            raise TwoNetworks(text) from error
        raise SandboxError(f"Docker refuses {what}: {text}.") from error
    except (aiohttp.ClientError, OSError) as error:
        raise DaemonUnreachable(f"Docker did not answer about {what}: {error or 'time is up'}.") from error


async def seen_through(call: Coroutine[Any, Any, _T]) -> _T:
    """Await *call* even when cancelled: an abandoned call still takes effect, possibly after we look for its result."""
    calling = asyncio.create_task(call, name="docker-call")
    try:
        return await asyncio.shield(calling)
    except asyncio.CancelledError:
        with suppress(DockerError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(LAST_CALL_S):
                await calling
        raise


async def state_of(docker: aiodocker.Docker, name: str) -> dict[str, Any]:
    """Return the daemon's ``State`` of a container. Raises ``Missing``, ``DaemonUnreachable``."""
    async with answers(name):
        shown = await docker.containers.container(name).show()
    state: dict[str, Any] = shown["State"]
    return state
