"""The bubblewrap backend. I/O: it opens a sandbox to prove that this machine can."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from fastflow_contracts.log import get_logger
from fastflow_runner.backend.backend import Backend, NoSandbox
from fastflow_runner.backend.packages import blank_spec, package_access, supply
from fastflow_runner.environments.environments import Environments, Identity
from fastflow_runner.environments.store import bubble_place
from fastflow_runner.guest.prepare.layout import PARTS, Store
from fastflow_runner.sandbox import USER, SandboxError, SandboxSpec
from fastflow_runner.sandbox.bubble.certificates import trusted
from fastflow_runner.sandbox.bubble.cgroups import find_cgroups
from fastflow_runner.sandbox.bubble.failures import NetworkFailed
from fastflow_runner.sandbox.bubble.launch import Launcher
from fastflow_runner.sandbox.bubble.network import BubbleNetworks
from fastflow_runner.sandbox.bubble.probe import few_namespaces, host_facts, no_bubble, no_network
from fastflow_runner.sandbox.bubble.sandboxes import BubbleSandboxes
from fastflow_runner.sandbox.bubble.stage import Stage, can_be
from fastflow_runner.sandbox.bubble.syscalls import program
from fastflow_runner.sandbox.bubble.system import own_python, system_view
from fastflow_runner.sandbox.bubble.tools import NoBubble, find_bubblewrap
from fastflow_runner.sandbox.demand import WarmLimits
from fastflow_runner.sandbox.naming import LABEL_KEEPER, LABEL_PREPARER, PREFIX
from fastflow_runner.sandbox.network import openings, package_hosts
from fastflow_runner.sandbox.pool import Pool
from fastflow_runner.settings import RunnerSettings

log = get_logger(__name__)

PROVE_S: Final = 30.0
_FIRST_PID_NAMESPACE: Final = 0xEFFFFFFC
"""The kernel's own number of the process namespace that is no container's."""
_END_WITH_RUNNER: Final = (
    "Runs end with this runner, because it is in a container, and no later one can take them over."
)


async def bubble_backend(
    settings: RunnerSettings, runner: str, environ: Mapping[str, str], installation: str
) -> Backend:
    """Open the backend, and prove that it works. Raises ``NoBubble``, ``NoSandbox`` (another runner has its folder)."""
    bubblewrap = await asyncio.to_thread(find_bubblewrap)
    directory = Path(settings.data_dir).absolute() / "bubble"
    store = directory / "store"
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make_store(store)
        directory, store = directory.resolve(), store.resolve()  # a link may lead to what only root passes
        certificates = trusted(directory / "certificates.pem", settings.ca_bundle or environ.get("SSL_CERT_FILE", ""))
    except OSError as error:
        raise NoBubble(
            f"{error.filename or directory} cannot be made or read ({error.strerror})",
            "move away what is there, or set another FASTFLOW_DATA_DIR or FASTFLOW_CA_BUNDLE",
        ) from error
    opened = (*openings(settings.network_open), *package_hosts(environ))
    networks = BubbleNetworks(opened=opened, network=settings.network)
    if lack := networks.lack:
        raise no_network(lack)
    launcher = Launcher(bubblewrap, system_view(certificates), Stage(), program())
    cgroups = await asyncio.to_thread(find_cgroups)
    outlives = _outlive()
    few = few_namespaces(host_facts(), settings.slots + settings.pool_size_max)
    more = (*few, *(() if outlives else (_END_WITH_RUNNER,)))
    place = bubble_place(store, python=own_python(), network=settings.network)
    found = package_access(settings, environ, place)
    blank = blank_spec(settings, place)
    memory_bytes_max = int(_memory_bytes() * settings.memory_share_max) or None
    lock = _lock(directory)
    sandboxes = BubbleSandboxes(directory / "sandboxes", launcher, networks, cgroups, unenforced=more, lock=lock)
    pool = Pool(
        sandboxes,
        blank,
        installation=installation,
        keeper={LABEL_KEEPER: runner},
        size_max=settings.pool_size_max,
        usual=WarmLimits(memory_bytes_max, None),
    )
    backend = Backend(
        kind="bubble",
        outlives=outlives,
        daemon=None,
        sandboxes=pool,
        pool=pool,
        environments=Environments(
            sandboxes,
            place,
            runner=runner,
            identity=_identity(store),
            access=found,
            supply=supply(settings, found),
            budget_bytes=settings.environments_bytes_max,
        ),
        blank=blank,
        cell_runner=place.cell_runner,
        installation=installation,
        cores=os.cpu_count(),
        memory_bytes_max=memory_bytes_max,
        network=settings.network,
        network_max=settings.network_max,
    )
    try:
        await _prove(sandboxes, networks, backend.blank, runner)
    except BaseException:
        await sandboxes.close()
        raise
    return backend


def _lock(directory: Path) -> int:
    """Return a descriptor that keeps the folder for this runner. Raises ``NoSandbox`` if another one has it."""
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise NoSandbox(
            f"another runner has its sandboxes in {directory}; stop it, or set another FASTFLOW_DATA_DIR for this one."
        ) from None
    return lock


async def _prove(sandboxes: BubbleSandboxes, networks: BubbleNetworks, blank: SandboxSpec, runner: str) -> None:
    """Check that a sandbox starts, with one of the helpers that are here. Raises ``NoBubble``."""
    try:
        await _try(sandboxes, blank, runner)
    except NetworkFailed as failed:
        if failed.part != "helper" or not networks.take_other_helper():
            raise no_bubble(failed, host_facts()) from failed
        log.warning("network helper replaced", error=str(failed))
        await _prove(sandboxes, networks, blank, runner)


async def _try(sandboxes: BubbleSandboxes, blank: SandboxSpec, runner: str) -> None:
    """Open and remove a sandbox. Raises ``NoBubble``, ``NetworkFailed``."""
    spec = replace(blank, name=f"{PREFIX}trial-{secrets.token_hex(8)}", labels={LABEL_PREPARER: runner})
    try:
        async with asyncio.timeout(PROVE_S):
            channel = await sandboxes.open(spec)
            await channel.close()
            await sandboxes.remove(spec.name)
    except TimeoutError:
        raise NoBubble(f"bubblewrap made no sandbox within {PROVE_S:.0f} s", "see the load of this machine") from None
    except NetworkFailed:
        raise
    except SandboxError as error:
        raise no_bubble(error, host_facts()) from error


def refused(no: NoBubble) -> NoSandbox:
    """Return the error for an operator who asks for this backend where it cannot be."""
    return NoSandbox(f"{no}: {no.hint}; or use --sandbox process (FASTFLOW_SANDBOX=process), which isolates nothing.")


def _memory_bytes() -> int:
    """Return the memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _outlive() -> bool:
    """Whether processes that this one starts go on after it: not in a container, which ends with its program."""
    if os.stat("/proc/self/ns/pid").st_ino == _FIRST_PID_NAMESPACE:
        return True
    with suppress(OSError):
        return Path("/proc/1/comm").read_text().strip() in ("systemd", "init")  # a container that is a whole system
    return False


def _make_store(store: Path) -> str:
    """Make what is missing of the store, for the user of preparers, and return its mark."""
    store.mkdir(exist_ok=True, mode=0o755)
    mark = store / "mark"
    if not all((store / part).exists() for part in PARTS):  # sandboxes get some of them one by one
        Store(str(store)).lay_out()
    if not mark.exists():
        mark.write_text(secrets.token_hex(16))
    if can_be(USER):
        for path in (store, *store.iterdir()):
            if os.lstat(path).st_uid != USER:
                os.chown(path, USER, USER, follow_symlinks=False)
    return mark.read_text()


def _identity(store: Path) -> Identity:
    async def identity() -> str:
        """Return what tells this store from a later one at its path. One that was deleted is made again."""
        try:
            return await asyncio.to_thread(_make_store, store)
        except OSError:
            return ""

    return identity
