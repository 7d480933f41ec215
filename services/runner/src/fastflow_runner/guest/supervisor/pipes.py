"""Moves the script's output from its pipes into frames.

Standard library only.
"""

from __future__ import annotations

import fcntl
import os
import time

from .frames import EVENT, EVENT_HEADER, EVENTS, OUTPUT, OUTPUT_HEADER, STDERR, STDOUT, frame
from .lean import suppress
from .link import complain
from .wakeups import NEVER, now_s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .link import RunnerLink

READ_BYTES = 256 * 1024

# A script that writes line by line is read faster than it writes: without a pause each frame would hold only a few
# lines. Frames are the main cost of a flood, here, in Docker and in the runner.
GATHER_S = 0.001

GATHER_BYTES = 32 * 1024

EVENT_BYTES_MAX = 512 * 1024


class ScriptPipe:
    """One pipe from the script, and how far it has been read (in bytes; in events for the event pipe)."""

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.position = 0
        self.line = bytearray()


class ScriptPipes:
    """The pipes of one script: stdout, stderr and, for a notebook, events."""

    def __init__(self, link: RunnerLink, began: Callable[[], None]) -> None:
        """Set up closed pipes. *began* is called at the first event."""
        self._link = link
        self._began = began
        self._pipes: dict[int, ScriptPipe] = {}
        self._gather_until = 0.0

    def __contains__(self, descriptor: int) -> bool:
        return descriptor in self._pipes

    def open(self, *, with_events: bool) -> dict[int, int]:
        """Create the pipes and return the script's ends, by stream."""
        streams = (STDOUT, STDERR, EVENTS) if with_events else (STDOUT, STDERR)
        pipes = {stream: os.pipe() for stream in streams}
        for stream, (read, _) in pipes.items():
            os.set_blocking(read, False)
            with suppress(OSError):  # a user may have only a few large pipes
                fcntl.fcntl(read, fcntl.F_SETPIPE_SZ, READ_BYTES)
            self._pipes[read] = ScriptPipe(stream)
        return {stream: write for stream, (_, write) in pipes.items()}

    def awaited(self, now: float) -> tuple[list[int], float]:
        """Return the descriptors to wait for, and when to look at them again."""
        if self._link.window.full:
            # Not polled when full: a pipe whose writer is gone would report that without end.
            return [], NEVER
        if self._gather_until <= now:
            return list(self._pipes), NEVER
        events = [descriptor for descriptor, pipe in self._pipes.items() if pipe.stream == EVENTS]
        return events, self._gather_until if len(events) < len(self._pipes) else NEVER

    def read(self) -> None:
        """Read what is in the pipes and pass on stdout first, so that prints come before the traceback after them.

        Stdout is read last, so it holds everything written before what was read from stderr.
        """
        taken = [(descriptor, _taken(descriptor)) for descriptor in reversed(self._pipes)]
        for descriptor, data in reversed(taken):
            self._pass_on(descriptor, data)

    def drain(self, *, may_wait: bool) -> bool:
        """Read to the end as far as the window has room, and return whether that is done.

        What may not wait for room is lost.
        """
        window = self._link.window
        for descriptor in list(self._pipes):
            while not window.full and self._pass_on(descriptor, _taken(descriptor)):
                pass
            if window.full and may_wait:
                return False
            if descriptor in self._pipes:
                self._close(descriptor)
        return True

    def close(self) -> None:
        """Stop reading."""
        for descriptor in list(self._pipes):
            self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        del self._pipes[descriptor]
        os.close(descriptor)

    def _pass_on(self, descriptor: int, data: bytes | None) -> bool:
        """Pass on one piece from a pipe, None if it was empty; return whether there may be more."""
        pipe = self._pipes[descriptor]
        if not data:
            if data is not None:
                self._close(descriptor)
            return False
        if pipe.stream == EVENTS:
            self._pass_on_events(pipe, data)
            return True
        if len(data) < GATHER_BYTES:
            self._gather_until = now_s() + GATHER_S
        header = OUTPUT_HEADER.pack(pipe.stream, pipe.position, time.time())
        pipe.position += len(data)
        self._link.send_output(pipe.stream, pipe.position, frame(OUTPUT, header + data))
        return True

    def _pass_on_events(self, pipe: ScriptPipe, data: bytes) -> None:
        if pipe.position == 0:
            self._began()
        pipe.line += data
        *lines, rest = pipe.line.split(b"\n")
        for line in lines:
            if line and len(line) <= EVENT_BYTES_MAX:
                header = EVENT_HEADER.pack(pipe.position, time.time())
                pipe.position += 1
                self._link.send_output(EVENTS, pipe.position, frame(EVENT, header + line))
            elif line:
                complain(f"dropping an event of {len(line)} bytes")
        # For a line that is too long, one byte above the limit is enough to detect it.
        pipe.line = bytearray(rest[: EVENT_BYTES_MAX + 1])


def _taken(descriptor: int) -> bytes | None:
    """Read all that is in a pipe, up to a limit. Empty at its end; None if there is nothing yet."""
    try:
        return os.read(descriptor, READ_BYTES)
    except BlockingIOError:
        return None
