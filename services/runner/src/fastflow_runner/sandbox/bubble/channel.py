"""The channel to the supervisor of one bubblewrap sandbox: two named pipes. I/O.

A runner that is gone leaves the pipes as they are, because the sandbox itself keeps them open. So an end is never read
from them: it is that of the sandbox's first process.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from fastflow_contracts.log import get_logger
from fastflow_runner.sandbox import Detached, SandboxEnd
from fastflow_runner.sandbox.bubble.folder import SandboxFolder, has_ended

log = get_logger(__name__)

END_TIMEOUT_S: Final = 2.0
_STATUS_PAUSE_S: Final = 0.005
_RECEIVE_BYTES: Final = 64 * 1024


class ProcessEnd:
    """The end of a process that need not be a child of this one."""

    def __init__(self, descriptor: int | None, *, then: Callable[[], None]) -> None:
        """Watch a process. Needs a running event loop.

        Args:
            descriptor: Of the process, ours from now on; None: it has ended.
            then: Is called at its end.
        """
        self._has_come = descriptor is None
        self._descriptor = descriptor
        self._then = then
        if descriptor is not None:
            asyncio.get_running_loop().add_reader(descriptor, self._note)

    @property
    def has_come(self) -> bool:
        """Whether the process has ended, also where the event loop has not told yet."""
        if self._descriptor is not None and has_ended(self._descriptor):
            self._note()
        return self._has_come

    def _note(self) -> None:
        self._has_come = True
        self.close()
        self._then()

    def close(self) -> None:
        """Stop watching."""
        if self._descriptor is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None


class BubbleChannel:
    """The runner's ends of the pipes of one sandbox."""

    def __init__(self, folder: SandboxFolder, token: bytes, oom_killed: Callable[[], bool]) -> None:
        """Open the channel. Needs a running event loop.

        Args:
            oom_killed: Whether the kernel killed a process of it because memory ran out.

        Raises:
            Missing: The sandbox is gone.
        """
        self.folder = folder
        self._token = token
        self._oom_killed = oom_killed
        self._into, self._out = folder.pipes()
        self._waiting: set[asyncio.Future[None]] = set()
        self._end = ProcessEnd(folder.process(), then=self._wake)
        self._sending = asyncio.Lock()
        self._closed = False

    @property
    def token(self) -> bytes:
        return self._token

    @property
    def removable_as(self) -> str:
        return self.folder.name

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be sent."""
        return self._closed or self._end.has_come

    async def send(self, data: bytes) -> None:
        rest = memoryview(data)
        async with self._sending:
            while rest:
                if self.is_over:
                    raise Detached(f"the sandbox {self.folder.name} has ended, or its channel is closed.")
                try:
                    rest = rest[os.write(self._into, rest) :]
                except BlockingIOError:
                    await self._ready(self._into, for_writing=True)

    async def receive(self) -> bytes:
        while not self._closed:
            # Whether it has ended is asked first: then all that it wrote is in the pipe when this reads.
            has_ended = self._end.has_come
            try:
                return os.read(self._out, _RECEIVE_BYTES)
            except BlockingIOError:
                if has_ended:
                    self._log_complaints()
                    return b""
            await self._ready(self._out, for_writing=False)
        return b""

    async def wait(self) -> SandboxEnd:
        """Return how the sandbox ended. Bubblewrap tells a moment after the end."""
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                while not self._end.has_come:
                    await self._woken()
                while self.folder.exit_code() is None and self.folder.is_alive():  # noqa: ASYNC110 - of another process
                    await asyncio.sleep(_STATUS_PAUSE_S)
        except TimeoutError:
            if not self._end.has_come:
                raise Detached(f"the sandbox {self.folder.name} still runs; attach again.") from None
        return SandboxEnd(exit_code=self.folder.exit_code(), oom_killed=self._oom_killed())

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._end.close()
            loop = asyncio.get_running_loop()
            loop.remove_writer(self._into)
            loop.remove_reader(self._out)
            os.close(self._into)
            os.close(self._out)
            self._wake()

    async def _ready(self, descriptor: int, *, for_writing: bool) -> None:
        """Wait until a pipe can be used, or the sandbox has ended, or this channel is closed."""
        loop = asyncio.get_running_loop()
        (loop.add_writer if for_writing else loop.add_reader)(descriptor, self._wake)
        try:
            await self._woken()
        finally:
            if not self._closed:  # closed: another file may have its number by now
                (loop.remove_writer if for_writing else loop.remove_reader)(descriptor)

    async def _woken(self) -> None:
        """Wait until something may have changed."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    def _log_complaints(self) -> None:
        with suppress(OSError):
            if said := self.folder.said():
                log.warning("supervisor message received", sandbox=self.folder.name, text=said)
