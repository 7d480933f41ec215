"""Tells the other schedulers that this one fires slots, and listens to them. I/O; ``share`` decides what follows."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress

import nats.errors
from nats.aio.msg import Msg

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.decoding import decoded
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.schedules.beat import SCHEDULER_BEAT, SchedulerBeat
from fastflow_scheduler.schedules.share import Share

BEAT_S = 1.0
LAST_BEAT_S = 1.0
"""How long the last beat may take. Without it the others wait until this scheduler counts as dead."""


class Peers:
    """The schedulers of one bus, as this one hears them."""

    def __init__(self, bus: Bus, share: Share | None = None) -> None:
        self.share = share or Share(uuid.uuid4().hex)
        self._bus = bus
        self._is_asked = asyncio.Event()

    async def serve(self) -> None:
        """Beat until cancelled. Begin when this scheduler can fire."""
        subscription = None
        try:
            while True:
                self._is_asked.clear()
                self.share.forget_silent(at=_monotonic())
                with suppress(Unavailable, nats.errors.Error):  # not connected: then nothing fires either
                    subscription = subscription or await self._bus.client.subscribe(subjects.BEATS, cb=self._hear)
                    await self._tell(SchedulerBeat(id=self.share.own))
                with suppress(TimeoutError):
                    async with asyncio.timeout(BEAT_S):
                        await self._is_asked.wait()
        finally:
            with suppress(Unavailable, nats.errors.Error, TimeoutError):
                async with asyncio.timeout(LAST_BEAT_S):
                    await self._tell(SchedulerBeat(id=self.share.own, leaving=True))
                    if subscription is not None:
                        await subscription.unsubscribe()

    async def _tell(self, beat: SchedulerBeat) -> None:
        await self._bus.tell(subjects.BEATS, SCHEDULER_BEAT.encode(beat))

    async def _hear(self, message: Msg) -> None:
        beat = decoded(SCHEDULER_BEAT, message.data, where=message.subject)
        if beat is None:
            return
        if beat.leaving:
            self.share.leave(beat.id)
        elif self.share.hear(beat.id, at=_monotonic()):
            self._is_asked.set()  # a new one learns of us at once


def _monotonic() -> float:
    return asyncio.get_running_loop().time()
