"""Opens the backend that the settings ask for. I/O: it looks for a Docker daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec.structs import replace

from fastflow_contracts.log import get_logger
from fastflow_runner.backend.backend import Backend, NoSandbox
from fastflow_runner.backend.bubble import bubble_backend, refused
from fastflow_runner.backend.docker import docker_backend, prove, worker_image
from fastflow_runner.backend.plain import dummy_backend, process_backend
from fastflow_runner.sandbox.bubble.tools import NoBubble
from fastflow_runner.sandbox.docker.daemon import NoDocker, find_daemon
from fastflow_runner.settings import RunnerSettings

log = get_logger(__name__)


@asynccontextmanager
async def open_backend(
    settings: RunnerSettings, *, runner: str, installation: str, environ: Mapping[str, str], say: Callable[[str], None]
) -> AsyncIterator[Backend]:
    """Open the backend that the settings ask for. Builds the worker image if it is missing.

    Args:
        installation: the bus's name, which separates installations on one daemon.
        say: gets lines of progress.

    Raises:
        NoSandbox: the settings ask for Docker or bubblewrap, and it is not available, or not as they name it.
        BadOpening: what the settings open cannot be read.
    """
    async with AsyncExitStack() as stack:
        backend = await _open(settings, runner, installation, environ, say, stack)
        stack.push_async_callback(backend.sandboxes.close)
        stack.push_async_callback(backend.environments.close)
        yield backend


async def _open(
    settings: RunnerSettings,
    runner: str,
    installation: str,
    environ: Mapping[str, str],
    say: Callable[[str], None],
    stack: AsyncExitStack,
) -> Backend:
    if settings.sandbox == "dummy":
        return dummy_backend(settings, runner, installation)
    if settings.sandbox == "process":
        return process_backend(settings, runner, environ, installation)
    if settings.sandbox == "bubble":
        try:
            return await bubble_backend(settings, runner, environ, installation)
        except NoBubble as no:
            raise refused(no) from no
    try:
        daemon = await find_daemon(environ)
        image = await worker_image(settings, daemon, installation, say)
        backend = await docker_backend(settings, daemon, image, runner, installation, environ, stack)
        if settings.sandbox == "auto":
            await prove(backend, daemon)
    except NoDocker as no:
        if settings.sandbox == "docker":
            raise NoSandbox(
                f"{no}: {no.hint}; or use --sandbox bubble (FASTFLOW_SANDBOX=bubble), which needs no daemon, or "
                "--sandbox process, which isolates nothing."
            ) from no
        return await _without_docker(settings, runner, installation, environ, why=str(no))
    return backend


async def _without_docker(
    settings: RunnerSettings, runner: str, installation: str, environ: Mapping[str, str], *, why: str
) -> Backend:
    """Open the best backend that needs no daemon."""
    try:
        backend = await bubble_backend(settings, runner, environ, installation)
    except NoBubble as no:
        why = f"{why}, and {no} ({no.hint})"
        backend = process_backend(settings, runner, environ, installation)
    log.info("sandboxes chosen", kind=backend.kind, reason=why)
    return replace(backend, why=why)
