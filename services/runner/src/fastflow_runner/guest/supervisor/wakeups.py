"""What ends a wait: a descriptor that is ready, a child that has ended, a deadline.

What is done then is decided in ``supervisor``. Times are ``now_s``'s, in seconds. Standard library only.
"""

from __future__ import annotations

import os
import select
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NEVER = float("inf")

IDLE_S = 900.0
"""How long a sandbox without a job waits for a word."""

OPENING_S = 120.0
"""How long a cell runner may take to its first event, on top of the job's time."""

MEMORY_WATCH_S = 0.2


def now_s() -> float:
    """A clock that never jumps and, on Linux, goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Deadline:
    """A moment that comes once, or every so often."""

    def __init__(self) -> None:
        self.at = NEVER
        self._every_s = NEVER

    def repeat(self, first_at: float, every_s: float) -> None:
        """Let it come first at *first_at*, then *every_s* after each time that it was noticed."""
        self.at, self._every_s = first_at, every_s

    def has_come(self, now: float) -> bool:
        """Whether it has; True once for each time."""
        if now < self.at:
            return False
        self.at = now + self._every_s
        return True


class Deadlines:
    """When something must be done though nothing happens."""

    def __init__(self) -> None:
        self.timeout = Deadline()
        self.kill = Deadline()
        self.memory_watch = Deadline()
        self.sample = Deadline()
        self.give_up_at = NEVER
        """When the last kills, or the last words, have taken long enough."""
        self.dead_after_s = IDLE_S
        """How long the runner may be silent."""
        self._heard_at = now_s()
        self._limit_s = NEVER

    @property
    def dead_at(self) -> float:
        """When the runner counts as gone."""
        return self._heard_at + self.dead_after_s

    @property
    def next_at(self) -> float:
        """The first one, while a script runs."""
        return min(self.dead_at, self.timeout.at, self.kill.at, self.sample.at, self.memory_watch.at)

    def hear(self, dead_after_s: float | None = None) -> None:
        """The runner gave a sign of life. *dead_after_s*: how long it may be silent from now on; None: as before."""
        self._heard_at = now_s()
        if dead_after_s is not None:
            self.dead_after_s = float(dead_after_s)

    def start(self, now: float, *, limit_s: float, has_opening: bool, sample_s: float, watches_memory: bool) -> None:
        """The script has been started. *limit_s*, *sample_s*: 0 is none. *has_opening*: the limit counts from the first
        event (see ``began``).
        """
        self._limit_s = limit_s or NEVER
        self.timeout.at = now + self._limit_s + (OPENING_S if has_opening else 0)
        if sample_s:
            self.sample.repeat(now + sample_s, sample_s)
        if watches_memory:
            self.memory_watch.repeat(now, MEMORY_WATCH_S)

    def began(self) -> None:
        """The first event came: before it a kernel was starting, and no code of the user's."""
        self.timeout.at = min(self.timeout.at, now_s() + self._limit_s)

    def grant(self, grace_s: float) -> None:
        """Kill after *grace_s*, unless that is to happen earlier."""
        self.kill.at = min(self.kill.at, now_s() + grace_s)


class Wakeups:
    """The one wait of this process."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._polled: dict[int, int] = {}
        self._bell = -1

    def open(self) -> None:
        """Let the end of a child end a wait."""
        self._bell, ring = os.pipe()
        os.set_blocking(ring, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(ring, warn_on_full_buffer=False)

    def wait(self, readable: Iterable[int], writable: Iterable[int], wait_s: float) -> set[int]:
        """Wait for one of these descriptors, the end of a child, or *wait_s*; what is ready.

        A descriptor that was closed since the last wait is simply not named any more: ``poll`` takes numbers.
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
