"""Tells the bus that this runner is alive, and knows since when it could not. I/O.

The record is renewed by compare-and-set: a second process with the same runner id takes over, and the first one,
whose write then fails, ends without touching the sandboxes that are no longer its own.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

from msgspec.structs import replace

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import Conflict, Unavailable
from fastflow_contracts.clock import now
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs.lease import Lease
from fastflow_contracts.runs.presence import Presence
from fastflow_contracts.runs.runners import presences
from fastflow_runner.errors import RunnerError

log = get_logger(__name__)


class Replaced(RunnerError):
    """Another process with this runner's id has taken over."""


class Beacon:
    """Keeps the presence record fresh."""

    def __init__(self, bus: Bus, presence: Presence, lease: Lease, *, look: Callable[[Presence], Presence]) -> None:
        """*look* says with each renewal what has changed."""
        self.lease = lease
        self._presences = presences(bus)
        self.presence = replace(presence, instance=uuid.uuid4().hex, lease_s=lease.lease_s)
        self._look = look
        self._revision: int | None = None
        self._renewed_at = 0.0
        self._unseen_until = 0.0

    async def announce(self) -> None:
        """Take the id from the process that had it before."""
        former, revision = await self._presences.load(self.presence.runner)
        self._revision = revision or None
        await self.renew(first=True)
        # One that cannot be read may have been anywhere.
        is_known_dead = not revision or (former is not None and died_with(former, self.presence))
        if not is_known_dead:
            self._unseen_until = _monotonic() + self.lease.take_over_s

    async def serve(self) -> None:
        """Renew until cancelled. Raises ``Replaced``."""
        while True:
            await asyncio.sleep(self.lease.renew_s)
            try:
                await self.renew()
            except Unavailable as error:
                log.warning("presence not renewed", silent_s=round(self.silent_s), error=str(error))

    async def renew(self, *, first: bool = False) -> None:
        """Say now that this runner is alive. Raises ``Replaced``: then this process holds nothing any more."""
        asked_at = _monotonic()
        self.presence = replace(self._look(self.presence), seen_at=now())
        expect = None if first else self._revision
        while True:
            try:
                self._revision = await self._presences.put(self.presence.runner, self.presence, expect=expect)
                break
            except Conflict:
                stored, revision = await self._presences.load(self.presence.runner)
                if stored is not None and stored.instance != self.presence.instance:
                    raise Replaced(
                        f"another process runs as runner {self.presence.runner}; give each its own FASTFLOW_RUNNER_ID."
                    ) from None
                # It was removed, not replaced: by age after a long silence, or by hand. Or it is our own word, which
                # the bus has stored without telling us. Or nobody can read it.
                expect = revision or None
        self._renewed_at = asked_at

    async def say_goodbye(self, *, left: int) -> None:
        """This runner holds nothing any more; *left* sandboxes are for others."""
        if left:
            self.presence = replace(self.presence, gone=True)
            await self.renew()
        else:
            await self._presences.delete(self.presence.runner)

    def leave(self) -> None:
        """Say with the next renewal that this runner takes no more work."""
        self.presence = replace(self.presence, leaving=True)

    @property
    def silent_s(self) -> float:
        """How long ago the last renewal was acknowledged."""
        return _monotonic() - self._renewed_at

    @property
    def is_fresh(self) -> bool:
        """Whether heartbeats may go out."""
        return self.silent_s <= self.lease.lease_s

    @property
    def is_cut_off(self) -> bool:
        """Whether it is time to stop every sandbox."""
        return self.silent_s > self.lease.cut_off_s

    @property
    def dead_after_s(self) -> float:
        """How long from now a sandbox may go on without another word. The silence until now is not given twice."""
        return max(0.0, self.lease.dead_s - self.silent_s)

    @property
    def unseen_s(self) -> float:
        """How long from now a sandbox of this id's former life may run on a host where we do not see it."""
        return max(0.0, self._unseen_until - _monotonic())


def died_with(former: Presence, present: Presence) -> bool:
    """Whether a sandbox of *former* that *present* does not find is gone: it was no container, and of this host.

    A container may be on another host's daemon, and no daemon has an id that its clone does not have as well.
    """
    return former.sandbox != "docker" and former.host == present.host


def _monotonic() -> float:
    return asyncio.get_running_loop().time()
