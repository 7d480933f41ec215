"""The open streams of this gateway: one ``Broadcast`` for each subject that has followers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

from aiohttp import web

from fastflow_contracts.bus.client import Bus
from fastflow_gateway.errors import Busy
from fastflow_gateway.streaming.broadcast import Broadcast, Render

FOLLOWERS_MAX: Final = 1_000
"""Streams open at once in this process."""


class Followers:
    """Broadcasts by subject. Each is open while it has followers."""

    def __init__(self, bus: Bus, group: asyncio.TaskGroup) -> None:
        self._bus = bus
        self._group = group
        self._broadcasts: dict[str, tuple[Broadcast, asyncio.Task[None]]] = {}
        self._wakes: set[asyncio.Event] = set()
        self.is_stopping = False

    @property
    def followers(self) -> int:
        """How many streams are open now."""
        return len(self._wakes)

    def stop(self) -> None:
        """End every stream."""
        self.is_stopping = True
        for wake in self._wakes:
            wake.set()

    @contextlib.contextmanager
    def follow(
        self, stream: str, subject: str, render: Render, wake: asyncio.Event, *, is_settled: bool
    ) -> Iterator[Broadcast]:
        """Follow *subject*; *wake* is set whenever it has new items. *is_settled*: the run was over at the start.

        Raises ``Busy`` if too many streams are open.
        """
        with self.admitted(wake):
            if subject not in self._broadcasts:
                broadcast = Broadcast(
                    *(self._bus, stream, subject, render),
                    is_settled=is_settled,
                    broadcasts=lambda: len(self._broadcasts),
                )
                task = self._group.create_task(broadcast.serve(), name=f"follow {subject}")
                self._broadcasts[subject] = broadcast, task
            broadcast, task = self._broadcasts[subject]
            broadcast.wakes.add(wake)
            try:
                yield broadcast
            finally:
                broadcast.wakes.discard(wake)
                if not broadcast.wakes:
                    task.cancel()
                    del self._broadcasts[subject]

    @contextlib.contextmanager
    def admitted(self, wake: asyncio.Event) -> Iterator[None]:
        """Take one of ``FOLLOWERS_MAX`` places; *wake* is set when the stream must end. Raises ``Busy``."""
        if len(self._wakes) >= FOLLOWERS_MAX:
            raise Busy(f"{FOLLOWERS_MAX} streams are open here; close one, or ask another gateway.")
        self._wakes.add(wake)
        try:
            yield
        finally:
            self._wakes.discard(wake)


FOLLOWERS = web.AppKey("FOLLOWERS", Followers)
