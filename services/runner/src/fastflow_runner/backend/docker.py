"""The Docker backend. I/O: it builds the worker image and opens a container to prove that the daemon works."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
from aiodocker.exceptions import DockerError
from msgspec.structs import replace

from fastflow_contracts.log import get_logger
from fastflow_runner.backend.backend import Backend, NoSandbox
from fastflow_runner.backend.packages import blank_spec, package_access, supply
from fastflow_runner.environments.environments import Environments, volume_identity
from fastflow_runner.environments.store import docker_place
from fastflow_runner.sandbox import SandboxError
from fastflow_runner.sandbox.demand import WarmLimits
from fastflow_runner.sandbox.docker.config import LABEL_SCOPE
from fastflow_runner.sandbox.docker.daemon import Daemon, NoDocker
from fastflow_runner.sandbox.docker.image import ImageFailed, ensure_worker_image
from fastflow_runner.sandbox.docker.image_gc import ImageGc
from fastflow_runner.sandbox.docker.sandboxes import DockerSandboxes
from fastflow_runner.sandbox.naming import LABEL_KEEPER
from fastflow_runner.sandbox.network import openings, package_hosts
from fastflow_runner.sandbox.pool import Pool
from fastflow_runner.settings import RunnerSettings

log = get_logger(__name__)

PROVE_S = 30.0


async def docker_backend(
    settings: RunnerSettings,
    daemon: Daemon,
    image: str,
    runner: str,
    installation: str,
    environ: Mapping[str, str],
    stack: AsyncExitStack,
) -> Backend:
    info = daemon.info
    _check_runtime(settings.container_runtime, daemon)
    has_seccomp = any("name=seccomp" in each for each in info.get("SecurityOptions") or ())
    docker = await stack.enter_async_context(daemon.client())
    place = docker_place(
        image=image,
        base_image=settings.worker_base_image,
        volume=settings.store_volume,
        network=settings.network,
        architecture=str(info.get("Architecture", "")),
    )
    found = package_access(settings, environ, place)
    unenforced = () if has_seccomp else ("System calls are not filtered: the daemon has no seccomp.",)
    sandboxes = DockerSandboxes(scope=installation, url=daemon.url, tls=daemon.tls, unenforced=unenforced)
    opened = (*openings(settings.network_open), *package_hosts(environ))
    firewall = sandboxes.guard(image, runner=runner, network=settings.network, opened=opened)
    blank = replace(
        blank_spec(settings, place),
        runtime=settings.container_runtime,
        own_seccomp=has_seccomp and settings.seccomp == "fastflow",
    )
    memory_bytes_max = int(info.get("MemTotal", 0) * settings.memory_share_max) or None
    keeper = {LABEL_KEEPER: runner}
    pool = Pool(
        sandboxes,
        blank,
        installation=installation,
        keeper=keeper,
        size_max=settings.pool_size_max,
        usual=WarmLimits(memory_bytes_max, None),
    )
    return Backend(
        kind="docker",
        outlives=True,
        daemon=str(info["ID"]),
        sandboxes=pool,
        pool=pool,
        environments=Environments(
            sandboxes,
            place,
            runner=runner,
            identity=volume_identity(docker, settings.store_volume),
            access=found,
            supply=supply(settings, found),
            budget_bytes=settings.environments_bytes_max,
        ),
        blank=blank,
        cell_runner=place.cell_runner,
        installation=installation,
        cores=int(info["NCPU"]),
        memory_bytes_max=memory_bytes_max,
        network=settings.network,
        network_max=settings.network_max,
        firewall=firewall,
        image_gc=None if settings.worker_image else ImageGc(docker, installation=installation, current=image),
    )


def _check_runtime(name: str, daemon: Daemon) -> None:
    known = daemon.info.get("Runtimes") or {}
    if name and name not in known:
        raise NoSandbox(
            f"{daemon.name} has no container runtime {name} (it has {', '.join(sorted(known))}); install it and name "
            "it in the daemon's daemon.json, or change FASTFLOW_CONTAINER_RUNTIME."
        )


async def worker_image(settings: RunnerSettings, daemon: Daemon, installation: str, say: Callable[[str], None]) -> str:
    """Return the worker image's reference; build the image if it is missing. Raises ``NoDocker``."""
    if settings.worker_image:
        return settings.worker_image
    try:
        async with daemon.client() as docker:
            return await ensure_worker_image(
                docker,
                progress=say,
                base_image=settings.worker_base_image,
                ca_bundle=Path(settings.ca_bundle) if settings.ca_bundle else None,
                labels={LABEL_SCOPE: installation},
            )
    except (ImageFailed, DockerError, aiohttp.ClientError, OSError, ValueError) as error:
        if isinstance(error, aiohttp.ClientError | ValueError) and not isinstance(error, OSError):
            reason = "it closed the connection, or it is not Docker"
        else:
            reason = _last_line(error) or "it did not answer"
        found = f"{daemon.name} cannot build the worker image ({reason})"
        hint = (
            f"give it {settings.worker_base_image} and the network, or set WORKER_BASE_IMAGE or FASTFLOW_WORKER_IMAGE"
        )
        raise NoDocker(found, hint) from error


async def prove(backend: Backend, daemon: Daemon) -> None:
    """Check that this daemon can open a sandbox. Raises ``NoDocker`` if it cannot."""
    assert backend.pool is not None
    try:
        async with asyncio.timeout(PROVE_S):
            await backend.pool.prove()
    except (SandboxError, TimeoutError) as error:
        await backend.environments.close()
        await backend.sandboxes.close()
        reason = _last_line(error) or f"no answer within {PROVE_S:.0f} s"
        raise NoDocker(f"{daemon.name} cannot open a sandbox ({reason})", "see what `docker run` says") from error


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else ""
