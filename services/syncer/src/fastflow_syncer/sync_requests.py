"""Syncs after changes of the source, and on request from the bus. I/O only.

Requests and changes during a sync wait for the next sync: the running one may have read the source before them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Final

import nats.errors
from nats.aio.msg import Msg

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.log import get_logger
from fastflow_contracts.pipelines.records import SYNC_REPORT
from fastflow_syncer.sources.source import Source
from fastflow_syncer.sync import Syncer

log = get_logger(__name__)

QUEUE: Final = "syncer"
"""Queue group of all syncers: one of them answers each request."""
WAITING_MAX: Final = 1_000
"""Most requests that wait for an answer at once; further requests get no answer."""


class SyncRequests:
    """Starts syncs and answers requests with the report."""

    def __init__(self, bus: Bus, source: Source, syncer: Syncer) -> None:
        self._bus = bus
        self._source = source
        self._syncer = syncer
        self._is_requested = asyncio.Event()
        self._waiting: list[str] = []

    async def serve(self, ready: Callable[[], None]) -> None:
        """Sync until cancelled. Calls *ready* after the first sync, successful or not."""
        async with self._listening(), asyncio.TaskGroup() as group:
            group.create_task(self._watch(), name="watch-source")
            await self._sync_when_requested()
            ready()
            while True:
                await self._sync_when_requested()

    async def _sync_when_requested(self) -> None:
        await self._is_requested.wait()
        self._is_requested.clear()
        waiting, self._waiting = self._waiting, []
        report = SYNC_REPORT.encode(await self._syncer.sync())
        for inbox in waiting:
            with contextlib.suppress(BusError):
                await self._bus.tell(inbox, report)

    async def _watch(self) -> None:
        async with contextlib.aclosing(self._source.changes()) as changes:
            async for _ in changes:
                self._is_requested.set()

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncGenerator[None, None]:
        subscription = await self._bus.client.subscribe(subjects.SYNC, queue=QUEUE, cb=self._asked)
        try:
            yield
        finally:
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()

    async def _asked(self, message: Msg) -> None:
        if len(self._waiting) >= WAITING_MAX:
            log.warning("sync request unanswered", waiting=WAITING_MAX)
            return
        if message.reply and subjects.is_inbox(message.reply):
            self._waiting.append(message.reply)
        self._is_requested.set()
