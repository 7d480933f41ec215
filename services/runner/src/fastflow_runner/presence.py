"""Tells the bus that this runner is alive, and tracks how long the bus has not confirmed it. I/O.

The record is renewed by compare-and-set. A second process with the same runner id takes over; the first one's next
write then fails, and it ends without touching the sandboxes, which are no longer its own.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

from msgspec.structs import replace

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError, RevisionConflict
from fastflow_contracts.clock import now
from fastflow_contracts.errors import Fatal
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs.lease import Lease
from fastflow_contracts.runs.presence import Presence
from fastflow_contracts.runs.runners import presences
from fastflow_runner.errors import RunnerError

log = get_logger(__name__)


class Replaced(RunnerError, Fatal):
    """Another process with this runner's id has taken over."""


class PresenceWriter:
    """Keeps the presence record fresh."""

    def __init__(self, bus: Bus, presence: Presence, lease: Lease, *, look: Callable[[Presence], Presence]) -> None:
        """*look* updates the presence before each renewal."""
        self.lease = lease
        self._presences = presences(bus)
        self.presence = replace(presence, instance=uuid.uuid4().hex, lease_s=lease.lease_s)
        self._look = look
        self._revision: int | None = None
        self._renewed_at = 0.0
        self._unseen_until = 0.0

    async def announce(self) -> None:
        """Take over the runner id from the process that had it before."""
        former, revision = await self._presences.load(self.presence.runner)
        self._revision = revision or None
        await self.renew(first=True)
        # An unreadable record may be from any host.
        is_known_dead = not revision or (former is not None and died_with(former, self.presence))
        if not is_known_dead:
            self._unseen_until = _monotonic() + self.lease.take_over_s

    async def serve(self) -> None:
        """Renew the record until cancelled. Raises ``Replaced``."""
        while True:
            await asyncio.sleep(self.lease.renew_s)
            try:
                await self.renew()
            except BusError as error:
                log.warning("presence not renewed", silent_s=round(self.silent_s), error=str(error))

    async def renew(self, *, first: bool = False) -> None:
        """Renew the record now. Raises ``Replaced``; then this process holds no runs any more."""
        asked_at = _monotonic()
        self.presence = replace(self._look(self.presence), seen_at=now())
        expect = None if first else self._revision
        while True:
            try:
                self._revision = await self._presences.put(self.presence.runner, self.presence, expect=expect)
                break
            except RevisionConflict:
                stored, revision = await self._presences.load(self.presence.runner)
                if stored is not None and stored.instance != self.presence.instance:
                    raise Replaced(
                        f"another process runs as runner {self.presence.runner}; give each its own FASTFLOW_RUNNER_ID."
                    ) from None
                # Not replaced. Either the record was removed (by age after a long silence, or by hand), or it is our
                # own write whose answer got lost, or it is unreadable.
                expect = revision or None
        self._renewed_at = asked_at

    async def record_end(self, *, left: int) -> None:
        """Record that this runner has ended. It leaves *left* sandboxes to other runners."""
        if left:
            self.presence = replace(self.presence, gone=True)
            await self.renew()
        else:
            await self._presences.delete(self.presence.runner)

    def leave(self) -> None:
        """Announce with the next renewal that this runner takes no more work."""
        self.presence = replace(self.presence, leaving=True)

    @property
    def silent_s(self) -> float:
        """Seconds since the last acknowledged renewal."""
        return _monotonic() - self._renewed_at

    @property
    def is_fresh(self) -> bool:
        """Whether heartbeats to sandboxes are allowed."""
        return self.silent_s <= self.lease.lease_s

    @property
    def is_cut_off(self) -> bool:
        """Whether it is time to stop every sandbox."""
        return self.silent_s > self.lease.cut_off_s

    @property
    def dead_after_s(self) -> float:
        """Seconds from now that a sandbox may run without another heartbeat. Silence so far is already subtracted."""
        return max(0.0, self.lease.dead_s - self.silent_s)

    @property
    def unseen_s(self) -> float:
        """Seconds from now that a sandbox of this id's previous process may still run on a host we do not see."""
        return max(0.0, self._unseen_until - _monotonic())


def died_with(former: Presence, present: Presence) -> bool:
    """Whether a sandbox of *former* that *present* does not find is gone: true for process sandboxes of this host.

    A container may be on another host's daemon. The daemon's id does not help: a cloned daemon has the same id.
    """
    return former.sandbox != "docker" and former.host == present.host


def _monotonic() -> float:
    return asyncio.get_running_loop().time()
