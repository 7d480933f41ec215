"""The border in bytes: frames, marks, and the window of unacknowledged output. Pure; the runner imports it.

Standard library only.
"""

from __future__ import annotations

import struct

from .lean import deque, dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

PROTOCOL_VERSION = 1

FRAME_BYTES_MAX = 8 * 1024 * 1024  # a job with all the environment the bus allows, more than exec does

WINDOW_BYTES = 1024 * 1024

MAGIC = b"\xff\xf5FASTFL"  # no frame kind starts with its first byte, so a foreign mark is recognised

NONCE_BYTES = 16

MARK_BYTES = len(MAGIC) + NONCE_BYTES

ATTACH, JOB, DATA, BEAT, ACK, STOP, FETCH = b"AJDBKSF"

SYNC, STARTED, OUTPUT, EVENT, SAMPLE, EXIT, PART = b"YTOEMXP"

STDOUT, STDERR, EVENTS = 1, 2, 3

WAITING, PREPARING, RUNNING, DRAINING, EXITED = "waiting", "preparing", "running", "draining", "exited"

ORPHANED_EXIT_CODE = 87

_HEADER = struct.Struct(">BI")

OUTPUT_HEADER = struct.Struct(">BQd")

EVENT_HEADER = struct.Struct(">Qd")

PART_HEADER = struct.Struct(">I?")
"""The number of the FETCH that it answers, and whether it holds the file's bytes or the problem with it."""


class ProtocolError(Exception):
    """The other side's bytes are not frames of this protocol."""


class ForeignMark(ProtocolError):
    """Another runner has attached to this sandbox and owns it now."""


def mark(nonce: bytes) -> bytes:
    """Return the mark of a 16-byte nonce or token."""
    assert len(nonce) == NONCE_BYTES
    return MAGIC + nonce


def frame(kind: int, payload: bytes) -> bytes:
    """Encode one frame. Raises ``ProtocolError`` for a payload above ``FRAME_BYTES_MAX``."""
    if len(payload) > FRAME_BYTES_MAX:
        raise ProtocolError(f"a frame of {len(payload)} bytes; at most {FRAME_BYTES_MAX} are allowed")
    return _HEADER.pack(kind, len(payload)) + payload


def message(kind: int, **fields: Any) -> bytes:
    """Encode one control frame in UTF-8.

    Half a surrogate pair has no UTF-8 form and is escaped, as Python's JSON does.
    """
    return frame(kind, dumps(fields).encode(errors="backslashreplace"))


class Decoder:
    """Turns bytes into frames, from the mark on. Drops what comes before a mark, wherever the mark appears.

    Without a given mark, the stream must begin with one, and the decoder adopts it. It also finds a mark inside a torn
    frame, unless a read cuts the mark exactly where the torn frame would end.
    """

    def __init__(self, mark: bytes = b"") -> None:
        self._mark = mark
        self._buffer = bytearray()
        self._in_step = False

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield every complete frame as (kind, payload). The caller must exhaust it.

        Raises:
            ForeignMark: Another runner's mark appeared.
            ProtocolError: The bytes are not frames.

        After an error it drops everything up to the next mark.
        """
        buffer = self._buffer
        buffer += data
        if not self._mark:
            if len(buffer) < MARK_BYTES:
                return
            if not buffer.startswith(MAGIC):
                buffer.clear()
                raise ProtocolError("the stream does not begin with a mark")
            self._mark = bytes(buffer[:MARK_BYTES])
        while (at := buffer.find(self._mark)) >= 0:
            try:
                if self._in_step:
                    yield from self._frames(at)
            finally:
                del buffer[: buffer.find(self._mark) + MARK_BYTES]
                self._in_step = True
        if self._in_step:
            yield from self._frames(len(buffer))
        else:
            del buffer[: 1 - MARK_BYTES]

    def _frames(self, end: int) -> Iterator[tuple[int, bytes]]:
        """Remove the frames that end at or before *end* from the buffer and yield them."""
        buffer, at = self._buffer, 0
        try:
            while end - at >= _HEADER.size:
                kind, size = _HEADER.unpack_from(buffer, at)
                if kind == MAGIC[0]:
                    raise ForeignMark("another runner has attached to this sandbox")
                if size > FRAME_BYTES_MAX:
                    raise ProtocolError(f"a frame of {size} bytes; at most {FRAME_BYTES_MAX} are allowed")
                if end - at - _HEADER.size < size:
                    break
                at += _HEADER.size + size
                yield kind, bytes(buffer[at - size : at])
        except ProtocolError:
            self._in_step = False
            raise
        finally:
            del buffer[:at]


class OutputWindow:
    """Frames that were sent but not yet acknowledged, in order. Pure."""

    # The cost of a small frame beside its bytes, so that one-byte writes cannot fill the memory.
    FRAME_COST_BYTES = 256

    def __init__(self, bytes_max: int = WINDOW_BYTES) -> None:
        self._bytes_max = bytes_max
        self._frames: deque[tuple[int, int, bytes]] = deque()
        self._used_bytes = 0

    @property
    def full(self) -> bool:
        """Whether no more may be read from the script."""
        return self._used_bytes >= self._bytes_max

    def push(self, stream: int, end: int, frame: bytes) -> None:
        """Keep the frame that ends at offset (or number) *end* of its stream."""
        self._frames.append((stream, end, frame))
        self._used_bytes += len(frame) + self.FRAME_COST_BYTES

    def acknowledge(self, ends: Mapping[int, int]) -> None:
        """Drop every frame that ends at or below its stream's acknowledged offset."""
        self._frames = deque(kept for kept in self._frames if kept[1] > ends.get(kept[0], 0))
        self._used_bytes = sum(len(kept[2]) + self.FRAME_COST_BYTES for kept in self._frames)

    def __iter__(self) -> Iterator[bytes]:
        return (kept[2] for kept in self._frames)
