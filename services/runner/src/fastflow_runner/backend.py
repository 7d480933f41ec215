"""Which sandbox backend this runner uses, and what a run gets in it. I/O: it looks for a Docker daemon and builds the
worker image.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
from aiodocker.exceptions import DockerError
from msgspec.structs import replace

from fastflow_contracts.log import get_logger
from fastflow_contracts.pipelines.folder.origins import allowed_of, is_allowed
from fastflow_contracts.runs.run import Running, RunRecord
from fastflow_contracts.service.settings import BadSettings
from fastflow_runner.environments.environments import Environments, volume_identity
from fastflow_runner.environments.store import Place, docker_place, process_place
from fastflow_runner.environments.supply import Supply
from fastflow_runner.environments.variables import Access, access
from fastflow_runner.errors import RunnerError
from fastflow_runner.sandbox import SandboxError, Sandboxes, SandboxSpec
from fastflow_runner.sandbox.demand import WarmLimits
from fastflow_runner.sandbox.docker import DockerSandboxes
from fastflow_runner.sandbox.docker_config import LABEL_SCOPE
from fastflow_runner.sandbox.docker_daemon import Daemon, NoDocker, find_daemon
from fastflow_runner.sandbox.dummy import DummySandboxes
from fastflow_runner.sandbox.firewall import Firewall
from fastflow_runner.sandbox.image import ImageFailed, ensure_worker_image
from fastflow_runner.sandbox.image_gc import ImageGc
from fastflow_runner.sandbox.naming import LABEL_KEEPER, AttemptId, attempt_name
from fastflow_runner.sandbox.network import NetworkMax, openings, package_hosts, run_network
from fastflow_runner.sandbox.pool import Pool
from fastflow_runner.sandbox.process import ProcessSandboxes
from fastflow_runner.settings import RunnerSettings

log = get_logger(__name__)

PROVE_S = 30.0
CORES_MIN = 0.01
"""Docker's smallest limit."""


class NoSandbox(RunnerError):
    """The sandbox that the settings ask for is not available."""


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """Where this runner's scripts run. ``daemon`` is the Docker daemon's own id."""

    kind: str
    why: str = ""
    """Why it is not Docker when the settings leave the choice: one clause, for people."""
    daemon: str | None
    sandboxes: Sandboxes
    environments: Environments
    blank: SandboxSpec
    """The sandbox of any run, without name and limits."""
    cell_runner: str
    """Path of ``cells`` inside a sandbox."""
    installation: str
    cores: int | None = None
    """The daemon's processor cores; it refuses a higher limit. None: any limit is accepted."""
    memory_bytes_max: int | None = None
    """The most memory of one sandbox; None: no bound."""
    network: str = "none"
    """The network of runs."""
    network_max: NetworkMax = "internet"
    """The most network that a pipeline may have."""
    pool: Pool | None = None
    """The warm part of ``sandboxes``; its ``keep`` must run."""
    image_gc: ImageGc | None = None
    """Removes old worker images; its ``keep`` must run."""
    firewall: Firewall | None = None
    """Closes the network of runs; its ``keep`` must run."""

    def name(self, attempt: AttemptId) -> str:
        """The name of the sandbox of *attempt*."""
        return attempt_name(self.installation, attempt)

    def spec(self, run: RunRecord) -> SandboxSpec:
        """The specification of the sandbox for *run*, which must be running."""
        assert isinstance(run.state, Running)
        limits = run.order.limits
        network = run_network(run.order.network, self.network_max, usual=self.network)
        return replace(
            self.blank,
            name=self.name(AttemptId(run.id, run.state.attempt)),
            memory_bytes=_least(limits.memory_bytes, self.memory_bytes_max),
            cpu_cores=_cores(limits.cpu_cores, self.cores),
            network=network.name,
            reach=network.reach,
        )


@asynccontextmanager
async def open_backend(
    settings: RunnerSettings, *, runner: str, installation: str, environ: Mapping[str, str], say: Callable[[str], None]
) -> AsyncIterator[Backend]:
    """Open the backend that the settings ask for. Builds the worker image if it is missing.

    Args:
        installation: the bus's name, which separates installations on one daemon.
        say: gets lines of progress.

    Raises:
        NoSandbox: the settings ask for Docker, and it is not available, or not with the runtime that they name.
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
        return _dummy(settings, runner, installation)
    if settings.sandbox == "process":
        return _process(settings, runner, environ, installation)
    try:
        daemon = await find_daemon(environ)
        image = await _image(settings, daemon, installation, say)
        backend = await _docker(settings, daemon, image, runner, installation, environ, stack)
        if settings.sandbox == "auto":
            await _prove(backend, daemon)
    except NoDocker as no:
        if settings.sandbox == "docker":
            raise NoSandbox(
                f"{no}: {no.hint}; or use --sandbox process (FASTFLOW_SANDBOX=process), which isolates nothing."
            ) from no
        log.info("process sandboxes chosen", reason=str(no))
        return replace(_process(settings, runner, environ, installation), why=str(no))
    return backend


async def _prove(backend: Backend, daemon: Daemon) -> None:
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


async def _image(settings: RunnerSettings, daemon: Daemon, installation: str, say: Callable[[str], None]) -> str:
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


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else ""


async def _docker(
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
    found = _access(settings, environ, place)
    unenforced = () if has_seccomp else ("System calls are not filtered: the daemon has no seccomp.",)
    sandboxes = DockerSandboxes(scope=installation, url=daemon.url, tls=daemon.tls, unenforced=unenforced)
    opened = (*openings(settings.network_open), *package_hosts(environ))
    firewall = sandboxes.guard(image, runner=runner, network=settings.network, opened=opened)
    blank = replace(
        _blank(settings, place),
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
        daemon=str(info["ID"]),
        sandboxes=pool,
        pool=pool,
        environments=Environments(
            sandboxes,
            place,
            runner=runner,
            identity=volume_identity(docker, settings.store_volume),
            access=found,
            supply=_supply(settings, found),
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


def _least(one: int | None, other: int | None) -> int | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _cores(limit: float | None, most: int | None) -> float | None:
    """*limit* as the daemon accepts it: at least ``CORES_MIN``, at most the cores it has."""
    return limit if limit is None or most is None else min(max(limit, CORES_MIN), most)


def _process(settings: RunnerSettings, runner: str, environ: Mapping[str, str], installation: str) -> Backend:
    directory = Path(settings.data_dir)
    place = process_place(directory / "store")
    found = _access(settings, environ, place)
    may_be_open = settings.network_unenforced == "allow"
    root = directory / "sandboxes"
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise NoSandbox(
            f"{root}, the folder of the sandboxes, cannot be made ({error.strerror}); move away what is there, or "
            "set another FASTFLOW_DATA_DIR."
        ) from error
    sandboxes = ProcessSandboxes(root, may_be_open=may_be_open)
    return Backend(
        kind="process",
        daemon=None,
        sandboxes=sandboxes,
        environments=Environments(
            sandboxes,
            place,
            runner=runner,
            access=found,
            supply=_supply(settings, found),
            budget_bytes=settings.environments_bytes_max,
        ),
        blank=_blank(settings, place),
        cell_runner=place.cell_runner,
        installation=installation,
        network=settings.network,
        network_max=settings.network_max,
    )


def _dummy(settings: RunnerSettings, runner: str, installation: str) -> Backend:
    """For measuring everything except sandboxes: no code runs, every script succeeds at once."""
    place = replace(process_place(Path(settings.data_dir) / "store"), bare=True)
    sandboxes = DummySandboxes()
    return Backend(
        kind="dummy",
        daemon=None,
        sandboxes=sandboxes,
        environments=Environments(sandboxes, place, runner=runner),
        blank=_blank(settings, place),
        cell_runner=place.cell_runner,
        installation=installation,
    )


def _access(settings: RunnerSettings, environ: Mapping[str, str], place: Place) -> Access:
    """The way to packages."""
    found = access(environ, place, settings.index_credentials)
    if found.unbound:
        log.warning("index login ignored", variables=list(found.unbound), hint=_UNBOUND)
    return found


_UNBOUND = "name its index in UV_INDEX (name=https://…), or use FASTFLOW_INDEX_CREDENTIALS"


def _supply(settings: RunnerSettings, found: Access) -> Supply:
    """The rules for packages.

    Raises:
        BadSettings: An index that this runner itself uses is not allowed, or not named.
    """
    allowed = allowed_of(settings.allowed_indexes)
    if allowed:
        if not found.has_default:
            raise BadSettings(
                "FASTFLOW_ALLOWED_INDEXES is set, and this runner uses the index that uv knows by itself: set "
                "UV_DEFAULT_INDEX to the address of an allowed index."
            )
        strange = [index for index in found.addresses if not is_allowed(index, allowed)]
        if strange:
            raise BadSettings(
                f"FASTFLOW_ALLOWED_INDEXES does not allow {', '.join(strange)}, which this runner uses for every "
                f"pipeline; add it, or set UV_DEFAULT_INDEX to an allowed index."
            )
    return Supply(allowed, requires_hashes=settings.require_hashes, builds=not settings.no_build)


def _blank(settings: RunnerSettings, place: Place) -> SandboxSpec:
    return SandboxSpec(
        name="",
        image=place.image,
        mounts=place.readable,
        network=settings.network if settings.network_max == "internet" else "none",
        processes_max=settings.processes_max,
        tmp_bytes=settings.tmp_bytes,
        work_bytes=settings.work_bytes,
        files_max=settings.files_max,
    )
