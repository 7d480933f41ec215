"""Removes the sandboxes of attempts whose end is recorded, off the path of the attempts that follow. I/O.

To end a container takes Docker about a fifth of the processor time that it takes to open one. In a burst, the next
attempts need that time. So a sandbox whose job is over waits, idle and under its name, until no attempt has opened a
sandbox for a moment. Then they go one at a time, oldest first. At most ``waiting_max`` wait, none for much longer than
``PATIENCE_S``: beyond that number, an attempt removes its sandbox before it frees its slot.

Nothing is lost if this process dies: the sweep of a runner on this daemon removes what the records say is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from fastflow_contracts.log import get_logger
from fastflow_runner.sandbox import Sandboxes

log = get_logger(__name__)

QUIET_S: Final = 0.5
"""How long no attempt may have opened a sandbox before one is removed."""
PATIENCE_S: Final = 30.0
"""How long a sandbox waits at most for a quiet moment."""
CLOSE_AT_ONCE: Final = 4
CLOSE_S: Final = 20.0
"""Time limit for removing what still waits when the runner ends."""


class Removals:
    """The sandboxes of one runner that wait for their removal."""

    def __init__(self, sandboxes: Sandboxes, *, waiting_max: int) -> None:
        """*waiting_max*: the maximum number of sandboxes that wait; 0 = remove each at once."""
        self._sandboxes = sandboxes
        self._waiting_max = waiting_max
        self._waiting: dict[str, float] = {}
        """When each was put here, by name, oldest first."""
        self._added = asyncio.Event()
        self._opening = 0
        self._opened_at = -QUIET_S

    def __contains__(self, name: str) -> bool:
        """Whether the sandbox *name* waits for its removal."""
        return name in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Let removals wait while an attempt opens its sandbox in the block."""
        self._opening += 1
        try:
            yield
        finally:
            self._opening -= 1
            self._opened_at = _now()

    async def remove_later(self, name: str) -> None:
        """Remove the sandbox *name* at a quiet moment, or now if too many wait.

        Its job must be over and that recorded. Raises ``SandboxError`` if it is removed now and that fails.
        """
        if len(self._waiting) >= self._waiting_max:
            await self._sandboxes.remove(name)
            return
        self._waiting[name] = _now()
        self._added.set()

    async def keep(self) -> None:
        """Remove what waits, one at a time, until cancelled."""
        while True:
            await self._added.wait()
            self._added.clear()
            while self._waiting:
                while (pause_s := self._pause_s()) > 0:  # noqa: ASYNC110 - time passes, there is no event
                    await asyncio.sleep(pause_s)
                await self._remove(next(iter(self._waiting)))

    async def close(self) -> None:
        """Remove what still waits, a few at a time. The next sweep finds what is left after ``CLOSE_S``."""
        names = iter(tuple(self._waiting))

        async def remove_some() -> None:
            for name in names:
                await self._remove(name)

        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(*(remove_some() for _ in range(CLOSE_AT_ONCE)))
        if self._waiting:
            log.warning("sandboxes left to the next sweep", count=len(self._waiting))

    def _pause_s(self) -> float:
        """Return how long to wait before looking again; 0 or less: remove the oldest now."""
        now = _now()
        patience_s = next(iter(self._waiting.values())) + PATIENCE_S - now
        quiet_s = QUIET_S if self._opening else self._opened_at + QUIET_S - now
        return min(patience_s, quiet_s)

    async def _remove(self, name: str) -> None:
        """Remove one. When this is cancelled, the sandbox still waits: ``close`` removes it."""
        try:
            await self._sandboxes.remove(name)
        except Exception as error:  # whatever it is, the others must go, and the next sweep finds this one
            log.warning("sandbox not removed", sandbox=name, error=str(error))
        self._waiting.pop(name, None)


def _now() -> float:
    return asyncio.get_running_loop().time()
