"""The bubblewrap backend: one supervisor per sandbox, first process of namespaces of its own. I/O.

There is no daemon. A sandbox is a folder (``folder``) and the processes that hold it, so it outlives its runner:
the next one lists the folders. ``launch`` starts one, ``channel`` reaches its supervisor.
"""

from __future__ import annotations

import asyncio
import secrets
import subprocess
from contextlib import suppress
from pathlib import Path

from fastflow_contracts.log import get_logger
from fastflow_runner.sandbox import (
    Held,
    Missing,
    SandboxError,
    SandboxSpec,
)
from fastflow_runner.sandbox.bubble.channel import BubbleChannel
from fastflow_runner.sandbox.bubble.folder import SandboxFolder, folders, new_record
from fastflow_runner.sandbox.bubble.launch import Launcher, end, launch

log = get_logger(__name__)


class BubbleSandboxes:
    """Sandboxes in one directory. No other runner may use it at the same time."""

    def __init__(self, root: Path, launcher: Launcher) -> None:
        self._root = root
        self._launcher = launcher
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._opening: set[str] = set()
        self._channels: dict[str, BubbleChannel] = {}

    @property
    def unenforced(self) -> tuple[str, ...]:
        return ()

    async def open(self, spec: SandboxSpec) -> BubbleChannel:
        folder = SandboxFolder(self._root / spec.name)
        token = secrets.token_bytes(16)
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._opening.add(spec.name)  # a running sweep must not mistake it for an orphan
        try:
            folder.make(new_record(spec.labels, token))
            try:
                self._processes[spec.name] = await launch(self._launcher, folder, spec, self._prepare, {})
                return self._channel(folder, token)
            except BaseException:
                await asyncio.shield(self._remove(folder))
                raise
        except OSError as error:
            raise SandboxError(f"the sandbox cannot be made in {self._root}: {error}.") from error
        finally:
            self._opening.discard(spec.name)

    async def _prepare(self, pid: int) -> None: ...

    def _channel(self, folder: SandboxFolder, token: bytes) -> BubbleChannel:
        return BubbleChannel(folder, token, lambda: False)

    async def held(self) -> tuple[Held, ...]:
        return tuple(await asyncio.to_thread(self._held))

    def _held(self) -> list[Held]:
        found = []
        for folder in folders(self._root):
            if folder.name in self._opening:
                continue
            with suppress(Missing):
                found.append(Held(name=folder.name, labels=folder.record().labels, running=folder.is_alive()))
        return found

    async def attach(self, held: Held) -> BubbleChannel:
        folder = SandboxFolder(self._root / held.name)
        return self._channel(folder, bytes.fromhex(folder.record().token))

    async def remove(self, name: str) -> None:
        await self._remove(SandboxFolder(self._root / name))

    async def _remove(self, folder: SandboxFolder) -> None:
        await end(folder, self._processes.get(folder.name))
        self._processes.pop(folder.name, None)
        await asyncio.to_thread(folder.remove)

    async def close(self) -> None:
        """Sandboxes remain."""
        self._launcher.stage.close()
