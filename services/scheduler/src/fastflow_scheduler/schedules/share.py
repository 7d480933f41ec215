"""Which schedules belong to this scheduler: those that hash to it, among the schedulers that live. Pure.

A wrong view costs time, nothing else: a slot that two schedulers take becomes one run, because its id derives from the
slot, and one that nobody takes is taken by all after a while (``timetable.LEFT``).
"""

from __future__ import annotations

from hashlib import blake2b

from fastflow_contracts.bus.subjects import JobRef

GONE_S = 3.0
"""A scheduler that was silent for this long counts as dead."""
OTHERS_MAX = 100
"""Other schedulers to know; more would compete with these."""
ID_CHARACTERS_MAX = 64


class Share:
    """The share of the scheduler *own*. Times are in seconds of a monotonic clock."""

    def __init__(self, own: str) -> None:
        self.own = own
        self._others: dict[str, float] = {}
        """When each was last heard."""

    def hear(self, other: str, *, at: float) -> bool:
        """Take in that a scheduler lives. Returns whether it is new."""
        if other == self.own or len(other) > ID_CHARACTERS_MAX:
            return False
        is_new = other not in self._others
        if is_new and len(self._others) >= OTHERS_MAX:
            return False
        self._others[other] = at
        return is_new

    def leave(self, other: str) -> None:
        """Take in that a scheduler has ended."""
        self._others.pop(other, None)

    def forget_silent(self, *, at: float) -> None:
        """Take in the time: who was silent for too long is dead."""
        for other in [one for one, heard_at in self._others.items() if heard_at < at - GONE_S]:
            del self._others[other]

    def is_alone(self) -> bool:
        """Whether no other scheduler is known to live."""
        return not self._others

    def is_own(self, job: JobRef) -> bool:
        """Whether *job* belongs to this scheduler. If one ends, its jobs move, evenly, and no others (rendezvous)."""
        own = _weight(self.own, job)
        return all(_weight(other, job) < own for other in self._others)


def _weight(scheduler: str, job: JobRef) -> tuple[bytes, str]:
    text = "\0".join((scheduler, *job)).encode(errors="replace")
    return blake2b(text, digest_size=8).digest(), scheduler
