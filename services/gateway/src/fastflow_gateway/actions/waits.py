"""Wait for the end of a run, for callers over HTTP and on the bus. Nothing polls: the read model's feed wakes them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from aiohttp import web

from fastflow_contracts.ids import RunId
from fastflow_gateway.readmodel.model import ReadModel
from fastflow_gateway.readmodel.run_index import KnownRun

WAITS_MAX: Final = 2_000
"""Callers of this process that wait at once; one more is answered as if its wait were over."""


class Waits:
    """The callers that wait."""

    def __init__(self, model: ReadModel) -> None:
        self._model = model
        self._wakes: set[asyncio.Event] = set()
        self._is_stopping = False

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return len(self._wakes)

    def stop(self) -> None:
        """End every wait, now and from now on."""
        self._is_stopping = True
        for wake in self._wakes:
            wake.set()

    async def end_of(
        self,
        run_id: RunId,
        deadline_s: float,
        *,
        wake: asyncio.Event | None = None,
        is_gone: Callable[[], bool] = lambda: False,
    ) -> KnownRun | None:
        """Wait until a run is over.

        Args:
            run_id: The run. Its record may come later.
            deadline_s: When to give up, by the loop's clock.
            wake: Set when *is_gone* may have changed.
            is_gone: Whether the caller waits no longer.

        Returns:
            The run that is over; None: the wait ended first.
        """
        wake = wake or asyncio.Event()
        if len(self._wakes) >= WAITS_MAX:
            return self._ended(run_id)
        self._wakes.add(wake)
        try:
            with self._model.watching(run_id, wake), contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline_s):
                    while (ended := self._ended(run_id)) is None and not (self._is_stopping or is_gone()):
                        wake.clear()
                        await wake.wait()
                    return ended
        finally:
            self._wakes.discard(wake)
        return self._ended(run_id)

    def _ended(self, run_id: RunId) -> KnownRun | None:
        known = self._model.runs.get(run_id)
        return known if known is not None and known.run.is_over else None


WAITS = web.AppKey("WAITS", Waits)
