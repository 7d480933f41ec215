"""How much all triggers of one scheduler hold of their messages at once. No I/O."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastflow_contracts.bus.direct import BATCH_BYTES_MAX

HELD_BYTES_MAX: Final = 4 * BATCH_BYTES_MAX


class HeldPart:
    """A part of the whole."""

    def __init__(self, size: int) -> None:
        self.size = size
        """Bytes."""


class HeldBytes:
    """A number of bytes that tasks share. One that finds too few free waits."""

    def __init__(self, most: int = HELD_BYTES_MAX) -> None:
        self._free = most
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[HeldPart]:
        """Hold ``BATCH_BYTES_MAX`` within the block, or less from a call of ``keep`` on.

        Whoever holds some must not ask for more: all could wait for each other.
        """
        while self._free < BATCH_BYTES_MAX:
            self._freed.clear()
            await self._freed.wait()
        self._free -= BATCH_BYTES_MAX
        held = HeldPart(BATCH_BYTES_MAX)
        try:
            yield held
        finally:
            self.keep(held, 0)

    def keep(self, held: HeldPart, size: int) -> None:
        """Hold *size* bytes instead. More than there are is fine: others wait."""
        self._free += held.size - size
        held.size = size
        self._freed.set()
