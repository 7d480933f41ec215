"""The bubblewrap backend: one supervisor per sandbox, first process of namespaces of its own. I/O.

There is no daemon. A sandbox is a folder (``folder``) and the processes that hold it, so it outlives its runner:
the next one lists the folders. ``launch`` starts one, ``channel`` reaches its supervisor, ``cgroups`` limits it,
``network`` connects it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from fastflow_contracts.log import get_logger
from fastflow_runner.sandbox import Held, Missing, SandboxError, SandboxSpec
from fastflow_runner.sandbox.bubble.cgroups import Cgroups
from fastflow_runner.sandbox.bubble.cgroups.group import Cgroup, GroupPlace
from fastflow_runner.sandbox.bubble.channel import BubbleChannel
from fastflow_runner.sandbox.bubble.failures import FolderFailed
from fastflow_runner.sandbox.bubble.folder import BubbleRecord, SandboxFolder, folders
from fastflow_runner.sandbox.bubble.launch import Launcher, end, launch
from fastflow_runner.sandbox.bubble.network import BubbleNetworks, NetworkPlan
from fastflow_runner.sandbox.bubble.syscalls import UNFILTERED

log = get_logger(__name__)

_FILES: Final = "The number of files in memory (FASTFLOW_FILES_MAX) is bounded only by the memory that they take."


class BubbleSandboxes:
    """Sandboxes in one directory. No other runner may use it at the same time."""

    def __init__(
        self,
        root: Path,
        launcher: Launcher,
        networks: BubbleNetworks,
        cgroups: Cgroups,
        *,
        unenforced: tuple[str, ...] = (),
        lock: int | None = None,
    ) -> None:
        """
        Args:
            unenforced: What this machine cannot do besides, as sentences.
            lock: A descriptor to close at the end, which keeps other runners out.
        """
        self._root = Path(os.path.realpath(root))  # the kernel names the pipes of sandboxes so
        self._launcher = launcher
        self._networks = networks
        self._cgroups = cgroups
        self._more = unenforced
        self._lock = lock
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._groups: dict[str, str] = {}
        """The control group of each sandbox that this runner opened, by the sandbox's name."""
        self._networks_of: dict[str, NetworkPlan] = {}
        """The network of each sandbox that this runner opened, by the sandbox's name."""
        self._opening: set[str] = set()
        self._channels: dict[str, BubbleChannel] = {}
        """The latest of each sandbox."""

    @property
    def unenforced(self) -> tuple[str, ...]:
        filtered = () if self._launcher.seccomp else (UNFILTERED,)
        return (*self._cgroups.unenforced, *self._networks.unenforced, *filtered, _FILES, *self._more)

    async def open(self, spec: SandboxSpec) -> BubbleChannel:
        self._opening.add(spec.name)  # a listing must not mistake it for a leftover
        try:
            plan = await self._networks.plan(spec.network, spec.reach)
            channel = await self._open(spec, plan)
            self._networks_of[spec.name] = plan
            return channel
        except OSError as error:
            raise FolderFailed(f"the sandbox cannot be made in {self._root}: {error}.") from error
        finally:
            self._opening.discard(spec.name)

    async def _open(self, spec: SandboxSpec, plan: NetworkPlan) -> BubbleChannel:
        folder = SandboxFolder(self._root / spec.name)
        token = secrets.token_bytes(16)
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.make(
            BubbleRecord(
                labels=dict(spec.labels),
                token=token.hex(),
                cgroup=spec.name,
                places={
                    controller: (str(place.folder), place.version) for controller, place in self._cgroups.places.items()
                },
            )
        )
        try:
            limits = (spec.memory_bytes, spec.cpu_cores, spec.processes_max)
            cgroup = await asyncio.to_thread(self._cgroups.make, spec.name, *limits)
            self._groups[spec.name] = spec.name

            async def prepare(pid: int) -> asyncio.Task[None] | None:
                await asyncio.to_thread(cgroup.join, pid)
                return await self._networks.begin_join(pid, plan)

            seen = replace(spec, mounts=(*spec.mounts, *cgroup.mounts))
            self._processes[spec.name] = await launch(
                self._launcher, folder, seen, plan, prepare, limits_processes=not cgroup.counts_processes
            )
            return self._channel(folder, token, cgroup)
        except BaseException:
            await asyncio.shield(self._remove(folder))
            raise

    async def limit(self, channel: BubbleChannel, spec: SandboxSpec) -> None:
        """See ``WarmSandboxes``. What no control group limits, the supervisor watches from the job on."""
        await asyncio.to_thread(self._cgroup(channel.folder).limit, spec.memory_bytes, spec.cpu_cores)

    async def is_current(self, channel: BubbleChannel, spec: SandboxSpec) -> bool:
        """See ``WarmSandboxes``."""
        plan = self._networks_of.get(channel.folder.name)
        return plan is not None and await self._networks.is_current(plan, spec.network, spec.reach)

    async def rename(self, channel: BubbleChannel, name: str) -> None:
        """See ``WarmSandboxes``."""
        former = channel.folder
        self._opening.add(name)  # a listing must not mistake its folder for a leftover
        try:
            channel.folder = former.rename(name)
            self._groups[name] = self._groups.pop(former.name)
            self._networks_of[name] = self._networks_of.pop(former.name)
            self._channels[name] = self._channels.pop(former.name)
            self._processes[name] = self._processes.pop(former.name)
        except OSError as error:
            raise SandboxError(f"the sandbox {former.name} cannot be renamed: {error}.") from error
        finally:
            self._opening.discard(name)

    async def held(self) -> tuple[Held, ...]:
        """List all sandboxes, and remove what a killed runner left half made."""
        found = await asyncio.to_thread(self._held)
        for folder in (each for each in found if isinstance(each, SandboxFolder)):
            log.warning("sandbox without a record removed", sandbox=folder.name)
            await self._remove(folder)
        return tuple(each for each in found if isinstance(each, Held))

    def _held(self) -> list[Held | SandboxFolder]:
        found: list[Held | SandboxFolder] = []
        for folder in folders(self._root):
            if folder.name in self._opening:  # checked late: it may have been opened after the listing
                continue
            try:
                found.append(Held(name=folder.name, labels=folder.record().labels, running=folder.is_alive()))
            except Missing:
                if folder.path.exists():  # else it has another name by now
                    found.append(folder)
        return found

    async def attach(self, held: Held) -> BubbleChannel:
        folder = SandboxFolder(self._root / held.name)
        token = bytes.fromhex(folder.record().token)
        if (former := self._channels.pop(folder.name, None)) is not None:
            await former.close()  # two that read one pipe would each get a part
        return self._channel(folder, token, self._cgroup(folder))

    async def remove(self, name: str) -> None:
        await self._remove(SandboxFolder(self._root / name))

    async def _remove(self, folder: SandboxFolder) -> None:
        cgroup = self._cgroup(folder)
        await end(folder, self._processes.get(folder.name))
        self._processes.pop(folder.name, None)
        self._channels.pop(folder.name, None)
        await cgroup.remove()
        self._groups.pop(folder.name, None)
        self._networks_of.pop(folder.name, None)
        await asyncio.to_thread(folder.remove)

    def _channel(self, folder: SandboxFolder, token: bytes, cgroup: Cgroup) -> BubbleChannel:
        channel = self._channels[folder.name] = BubbleChannel(folder, token, cgroup.oom_killed)
        return channel

    def _cgroup(self, folder: SandboxFolder) -> Cgroup:
        try:
            record = folder.record()
            name = record.cgroup or folder.name
            places = {each: GroupPlace(Path(path), version) for each, (path, version) in record.places.items()}
        except Missing:
            if (known := self._groups.get(folder.name)) is None:  # half made, or renamed: the name's group is another's
                return Cgroup(folder.name, {})
            name, places = known, {}
        return self._cgroups.get(name, folder.pid(), places)

    async def close(self) -> None:
        """Sandboxes remain."""
        await self._networks.close()
        self._launcher.stage.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
