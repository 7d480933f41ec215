"""Services and the bus as processes that a test starts, kills and restarts.

A service is ready when its log shows it. Its processes always end with the test.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from fastflow.local.nats_server import USERS, embedded_bus
from fastflow_contracts.service.lifecycle import READY

START_S = 600.0
"""A first runner may have to build the worker image."""
END_S = 60.0
LOG_LINES_MAX = 2000
DENIED = "bus permission denied"
"""The log of a service that its user does not permit an action: always an error."""
_PR_SET_PDEATHSIG = 1


class Service:
    """``python -m fastflow_<name>``, started again and again in the same environment."""

    def __init__(self, name: str, environ: Mapping[str, str]) -> None:
        self.name = name
        self.environ = dict(environ)
        self.log: deque[str] = deque(maxlen=LOG_LINES_MAX)
        """The logs of all its lives, for a failing test."""
        self._process: Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """The process id of its current or last life."""
        assert self._process is not None
        return self._process.pid

    async def start(self, **environ: str) -> None:
        """Start it and wait until it is ready. *environ*: for this life only."""
        await self.launch(**environ)
        await self.ready()

    async def launch(self, **environ: str) -> None:
        """Start it without waiting."""
        assert not self.is_running, f"the {self.name} runs already"
        self._ready.clear()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", f"fastflow_{self.name}"),
            env=_plain_environment() | self.environ | {"LOG_JSON": "yes"} | environ,
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=PIPE,
            preexec_fn=_die_with_parent,
        )
        self._reading = asyncio.create_task(self._read(self._process), name=f"log-of-{self.name}")

    async def ready(self) -> None:
        """Wait until it reports that it is ready."""
        assert self._reading is not None
        saying = asyncio.create_task(self._ready.wait(), name=f"{self.name}-ready")
        try:
            await asyncio.wait({saying, self._reading}, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            saying.cancel()
        assert self._ready.is_set(), f"the {self.name} did not become ready:\n" + "\n".join(self.log)

    async def ended(self) -> int:
        """Wait until it has ended for any reason; return its exit code, negative for a signal."""
        assert self._process is not None
        assert self._reading is not None
        async with asyncio.timeout(END_S):
            code = await self._process.wait()
        await self._reading
        assert not [line for line in self.log if DENIED in line]
        return code

    def die(self) -> None:
        """Send SIGKILL without waiting for its end."""
        self.signal(signal.SIGKILL)

    async def kill(self) -> None:
        """Send SIGKILL and wait for its end."""
        self.die()
        await self.ended()

    async def remove(self) -> None:
        """As ``kill``, if it runs. What it leaves unread after the test would be an error of the next one."""
        if self.is_running:
            await self.kill()

    async def terminate(self) -> int:
        """Send SIGTERM; return its exit code."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        if self.is_running:
            assert self._process is not None
            self._process.send_signal(number)

    async def _read(self, process: Process) -> None:
        assert process.stderr is not None
        while line := await process.stderr.readline():
            text = line.decode(errors="replace").rstrip()
            self.log.append(text)
            try:
                said = json.loads(text)["event"]
            except (ValueError, KeyError, TypeError):
                continue
            if said == READY:
                self._ready.set()


class BusServer:
    """A nats-server that writes through to disk, and can be killed and restarted on the same store and port."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._life = AsyncExitStack()

    async def start(self) -> str:
        """Start it; return its URL, the same in every life."""
        return await self._life.enter_async_context(embedded_bus(self._directory))

    def credentials(self, service: str) -> str:
        """Return the file with the seed of a service's user."""
        return str(self._directory / USERS / f"{service}.seed")

    async def kill(self) -> None:
        """Send SIGKILL."""
        self.signal(signal.SIGKILL)
        await self._life.aclose()

    def signal(self, number: signal.Signals) -> None:
        os.kill(int((self._directory / "bus.pid").read_text()), number)

    async def end(self) -> None:
        """Stop it gracefully."""
        await self._life.aclose()


def _plain_environment() -> dict[str, str]:
    """Return this process's environment without settings meant for the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FASTFLOW_")}


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
