"""Watches whether the bus stores what it is sent. I/O only.

A nats-server that could not write to a stream once, because its disk was full, never writes to it again before a
restart, and only keeps silent. Everything else goes on: it reads, and it writes to other streams. So each important
bucket gets a small write from time to time.
"""

from __future__ import annotations

import asyncio
from typing import Final

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError, NotStored
from fastflow_contracts.bus.permissions import PROBED
from fastflow_contracts.log import get_logger

log = get_logger(__name__)

LOOK_S: Final = 15.0
"""Pause between two looks."""
PATIENCE_S: Final = 5.0
"""A write without an answer is repeated this long before the stream counts as stuck."""


class StorageWatch:
    """Watches one bus. ``complaint``: what is wrong and what to do; empty: nothing."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.complaint = ""

    async def serve(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Write to each bucket once, and update ``complaint``."""
        found = await asyncio.gather(*(self._complaint_of(bucket) for bucket in PROBED))
        complaint = " ".join(filter(None, found))
        if complaint and complaint != self.complaint:
            log.error("bus storage stopped", reason=complaint)
        elif self.complaint and not complaint:
            log.info("bus storage resumed")
        self.complaint = complaint

    async def _complaint_of(self, bucket: str) -> str:
        subject = subjects.value_subject(bucket, subjects.PROBE_KEY)
        try:
            await self._bus.publish(subject, b"", patience_s=PATIENCE_S)
        except NotStored as error:
            return str(error)
        except BusError:  # a full bucket answers, and a bus that is away is said elsewhere
            return ""
        return ""
