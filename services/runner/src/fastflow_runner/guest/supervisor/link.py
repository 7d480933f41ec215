"""The link to the runner: frames in on descriptor 0, frames out on descriptor 1, complaints on descriptor 2.

It keeps what every runner that attaches must receive again. ``supervisor`` decides what to do about a frame. Standard
library only.
"""

from __future__ import annotations

import os
import time

from .frames import (
    EVENTS,
    EXIT,
    PART,
    PART_HEADER,
    PROTOCOL_VERSION,
    SAMPLE,
    STARTED,
    STDERR,
    STDOUT,
    SYNC,
    Decoder,
    OutputWindow,
    ProtocolError,
    frame,
    mark,
    message,
)
from .lean import deque, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

LISTEN_BYTES = 1024 * 1024

OUTBOX_FRAMES_MAX = 10_000
"""With more unwritten frames than this, no runner is reading, and samples are dropped."""

COMPLAINT_BYTES_MAX = 4096


class RunnerLink:
    """Both directions between this process and the attached runner, if any."""

    def __init__(self) -> None:
        self.window = OutputWindow()
        self.listening = True
        """False once descriptor 0 is at its end: no runner can attach any more."""
        self._decoder = Decoder()
        self._outbox: deque[bytes] = deque()
        self._written_bytes = 0  # of the outbox's first frame
        self._acked = {STDOUT: 0, STDERR: 0, EVENTS: 0}
        self._started = b""
        self._exit = b""

    def open(self, *, complaints_are_ours: bool) -> None:
        """Make the descriptors non-blocking, so that a slow reader never holds up this process.

        Args:
            complaints_are_ours: Whether descriptor 2 is ours alone. If it is shared with the runner, it must not
                change.
        """
        os.set_blocking(1, False)
        if complaints_are_ours:
            os.set_blocking(2, False)

    @property
    def has_unsent(self) -> bool:
        """Whether ``flush`` has something to write."""
        return bool(self._outbox)

    def receive(self) -> Iterator[tuple[int, bytes]]:
        """Read once and yield every complete frame as (kind, payload). The caller must exhaust it."""
        data = os.read(0, LISTEN_BYTES)
        if not data:
            self.listening = False
            return
        while True:
            try:
                yield from self._decoder.feed(data)
                return
            except ProtocolError as error:
                complain(f"dropping frames of the runner up to its next mark: {error}")
                data = b""

    def attach(self, nonce: bytes, acked: Mapping[str, int], phase: str) -> None:
        """Start again for another runner: its mark, then all that it must receive.

        Finish a half-written frame first.
        """
        self.acknowledge(acked)
        begun = [self._outbox[0]] if self._written_bytes else []
        again = [mark(nonce), message(SYNC, version=PROTOCOL_VERSION, phase=phase)]
        again += [self._started] if self._started else []
        again += self.window
        again += [self._exit] if self._exit else []
        self._outbox = deque(begun + again)

    def acknowledge(self, acked: Mapping[str, int]) -> None:
        """Drop what the runner has stored. An offset never goes back."""
        ends = {STDOUT: acked["stdout"], STDERR: acked["stderr"], EVENTS: acked["events"]}
        self._acked = {stream: max(end, self._acked[stream]) for stream, end in ends.items()}
        self.window.acknowledge(self._acked)

    def send_output(self, stream: int, end: int, frame: bytes) -> None:
        """Send a frame that ends at *end* of its stream, and keep it until it is acknowledged."""
        self.window.push(stream, end, frame)
        self._outbox.append(frame)

    def send_started(self, pid: int) -> None:
        """Tell this runner and every later one that user code is running."""
        self._started = message(STARTED, pid=pid, at=time.time())
        self._outbox.append(self._started)

    def send_sample(self, **fields: Any) -> None:
        """Send what the job uses, unless no runner is reading: samples must not pile up."""
        if len(self._outbox) < OUTBOX_FRAMES_MAX:
            self._outbox.append(message(SAMPLE, at=time.time(), **fields))

    def send_exit(self, **fields: Any) -> None:
        """Tell this runner and every later one how the job ended."""
        self._exit = message(EXIT, at=time.time(), **fields)
        self._outbox.append(self._exit)

    def send_part(self, tag: int, is_file: bool, data: bytes) -> None:
        """Send what a FETCH asked for, once: after another attach it is asked for again."""
        self._outbox.append(frame(PART, PART_HEADER.pack(tag, is_file) + data))

    def flush(self) -> None:
        """Write as much as descriptor 1 accepts now."""
        try:
            while self._outbox:
                self._written_bytes += os.write(1, memoryview(self._outbox[0])[self._written_bytes :])
                if self._written_bytes == len(self._outbox[0]):
                    self._outbox.popleft()
                    self._written_bytes = 0
        except BlockingIOError:
            pass
        except BrokenPipeError:  # no runner can attach any more either
            self._outbox.clear()
            self._written_bytes = 0


def complain(text: str) -> None:
    """Write *text* to descriptor 2, if it accepts it."""
    with suppress(OSError):
        os.write(2, f"supervisor: {text}\n".encode(errors="replace")[:COMPLAINT_BYTES_MAX])
