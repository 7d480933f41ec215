"""What ends a wait: a descriptor that is ready, a child that has ended, a deadline.

``supervisor`` decides what happens then. Times come from ``now_s``, in seconds. Standard library only.
"""

from __future__ import annotations

import os
import select
import time

from .lean import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NEVER = float("inf")

IDLE_S = 900.0
"""How long a sandbox without a job waits for a runner."""

OPENING_S = 120.0
"""How long a cell runner may take until its first event, on top of the job's time."""

MEMORY_WATCH_S = 0.2


def now_s() -> float:
    """Return the time of a clock that never jumps and, on Linux, keeps running while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Deadline:
    """A moment that comes once or repeatedly."""

    def __init__(self) -> None:
        self.at = NEVER
        self._every_s = NEVER

    def repeat(self, first_at: float, every_s: float) -> None:
        """Set the first moment to *first_at*; after each one that was noticed, the next comes *every_s* later."""
        self.at, self._every_s = first_at, every_s

    def has_come(self, now: float) -> bool:
        """Whether the moment has come; True once for each."""
        if now < self.at:
            return False
        self.at = now + self._every_s
        return True


class Deadlines:
    """When something must be done even if nothing happens."""

    def __init__(self) -> None:
        self.timeout = Deadline()
        self.kill = Deadline()
        self.memory_watch = Deadline()
        self.sample = Deadline()
        self.give_up_at = NEVER
        """When the last kills or the last output have taken long enough."""
        self.dead_after_s = IDLE_S
        """How long the runner may be silent."""
        self._heard_at = now_s()
        self._limit_s = NEVER

    @property
    def dead_at(self) -> float:
        """Return when the runner counts as gone."""
        return self._heard_at + self.dead_after_s

    @property
    def next_at(self) -> float:
        """Return the earliest deadline while a script runs."""
        return min(self.dead_at, self.timeout.at, self.kill.at, self.sample.at, self.memory_watch.at)

    def heartbeat(self, dead_after_s: float | None = None) -> None:
        """Note a sign of life from the runner.

        Args:
            dead_after_s: How long it may be silent from now on; None keeps the current value.
        """
        self._heard_at = now_s()
        if dead_after_s is not None:
            self.dead_after_s = float(dead_after_s)

    def start(self, now: float, *, limit_s: float, has_opening: bool, sample_s: float, watches_memory: bool) -> None:
        """Set the deadlines of a script that has just started.

        Args:
            limit_s: The time limit; 0 for none.
            sample_s: Seconds between two samples; 0 for none.
            has_opening: Whether the limit counts from the first event (see ``began``).
        """
        self._limit_s = limit_s or NEVER
        self.timeout.at = now + self._limit_s + (OPENING_S if has_opening else 0)
        if sample_s:
            self.sample.repeat(now + sample_s, sample_s)
        if watches_memory:
            self.memory_watch.repeat(now, MEMORY_WATCH_S)

    def began(self) -> None:
        """Note the first event: until then a kernel was starting and no user code ran."""
        self.timeout.at = min(self.timeout.at, now_s() + self._limit_s)

    def grant(self, grace_s: float) -> None:
        """Kill after *grace_s*, unless a kill is due earlier."""
        self.kill.at = min(self.kill.at, now_s() + grace_s)


class Wakeups:
    """The only place where this process waits."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._polled: dict[int, int] = {}
        self._bell = -1

    def open(self) -> None:
        """Make the end of a child end a wait."""
        self._bell, ring = os.pipe()
        os.set_blocking(ring, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(ring, warn_on_full_buffer=False)

    def wait(self, readable: Iterable[int], writable: Iterable[int], wait_s: float) -> set[int]:
        """Wait for one of these descriptors, the end of a child, or *wait_s*, and return what is ready.

        A descriptor that was closed since the last wait is simply left out from now on: ``poll`` takes numbers.
        """
        wanted = dict.fromkeys(readable, select.POLLIN)
        wanted.update(dict.fromkeys(writable, select.POLLOUT))
        wanted[self._bell] = select.POLLIN
        for descriptor in self._polled.keys() - wanted.keys():
            self._poll.unregister(descriptor)
        for descriptor in wanted.keys() - self._polled.keys():
            self._poll.register(descriptor, wanted[descriptor])
        self._polled = wanted
        ready = {
            descriptor for descriptor, _ in self._poll.poll(None if wait_s == NEVER else max(0.0, wait_s * 1000 + 1))
        }
        if self._bell in ready:
            os.read(self._bell, 4096)
        return ready
