"""What the script writes, on its way from its pipes into frames.

Standard library only.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress

from .frames import EVENT, EVENT_HEADER, EVENTS, OUTPUT, OUTPUT_HEADER, STDERR, STDOUT, frame
from .link import complain
from .wakeups import NEVER, now_s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .link import Link

READ_BYTES = 256 * 1024

# A script that writes line by line is read faster than it writes: without a pause each frame would hold a few lines,
# and what a frame costs, here, in Docker and in the runner, is most of what a flood costs.
GATHER_S = 0.001

GATHER_BYTES = 32 * 1024

EVENT_BYTES_MAX = 512 * 1024


class ScriptPipe:
    """One pipe from the script, and how far it has been read (bytes; events for the event pipe)."""

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.position = 0
        self.line = bytearray()


class ScriptPipes:
    """Stdout, stderr and, of a notebook, the event pipe of one script."""

    def __init__(self, link: Link, began: Callable[[], None]) -> None:
        """*began* is called when the first event comes."""
        self._link = link
        self._began = began
        self._pipes: dict[int, ScriptPipe] = {}
        self._gather_until = 0.0

    def __contains__(self, descriptor: int) -> bool:
        return descriptor in self._pipes

    def open(self, *, with_events: bool) -> dict[int, int]:
        """Make them; the ends that the script writes to, by stream."""
        streams = (STDOUT, STDERR, EVENTS) if with_events else (STDOUT, STDERR)
        pipes = {stream: os.pipe() for stream in streams}
        for stream, (read, _) in pipes.items():
            os.set_blocking(read, False)
            with suppress(OSError):  # a user may have only so many large ones
                fcntl.fcntl(read, fcntl.F_SETPIPE_SZ, READ_BYTES)
            self._pipes[read] = ScriptPipe(stream)
        return {stream: write for stream, (_, write) in pipes.items()}

    def awaited(self, now: float) -> tuple[list[int], float]:
        """The descriptors to wait for, and when there will be more of them."""
        if self._link.window.full:
            # Not polled at all when full: a pipe whose writer has gone would report that without end.
            return [], NEVER
        if self._gather_until <= now:
            return list(self._pipes), NEVER
        events = [descriptor for descriptor, pipe in self._pipes.items() if pipe.stream == EVENTS]
        return events, self._gather_until if len(events) < len(self._pipes) else NEVER

    def read(self) -> None:
        """Take what stands in the pipes, and pass on stdout first: what a script printed before it failed comes before
        the traceback. Taken last, it holds all that was written before what was taken from stderr.
        """
        taken = [(descriptor, _taken(descriptor)) for descriptor in reversed(self._pipes)]
        for descriptor, data in reversed(taken):
            self._pass_on(descriptor, data)

    def drain(self, *, may_wait: bool) -> bool:
        """Read to the end, as far as the window has room; whether that is done. What may not wait for room is lost."""
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
        """Read no more."""
        for descriptor in list(self._pipes):
            self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        del self._pipes[descriptor]
        os.close(descriptor)

    def _pass_on(self, descriptor: int, data: bytes | None) -> bool:
        """One piece from a pipe, None if it was empty; whether there may be more."""
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
        # Of a line that is too long one byte above the limit is enough to know it by.
        pipe.line = bytearray(rest[: EVENT_BYTES_MAX + 1])


def _taken(descriptor: int) -> bytes | None:
    """What stands in a pipe, all of it if it is none of the largest; empty at its end, None if nothing is there yet."""
    try:
        return os.read(descriptor, READ_BYTES)
    except BlockingIOError:
        return None
