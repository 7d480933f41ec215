"""Parses server-sent events. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Event(NamedTuple):
    """One event. Send its ``id`` as ``Last-Event-ID`` to resume after it."""

    name: str
    data: bytes
    id: str | None


class EventReader:
    """Parses a stream that arrives in chunks of any size."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that *data* completes. Comments and ``retry`` are ignored."""
        if not data:
            return []
        # Joined only when an event may end here: one event may arrive in a thousand chunks.
        last = self._pieces[-1][-1:] if self._pieces else b""
        self._pieces.append(data)
        if b"\n\n" not in last + data:
            return []
        *whole, rest = b"".join(self._pieces).split(b"\n\n")
        self._pieces = [rest] if rest else []
        return [event for block in whole if (event := _event(block)) is not None]


def _event(block: bytes) -> Event | None:
    name, event_id, data = "", None, []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match field:
            case b"event":
                name = value.decode()
            case b"id":
                event_id = value.decode()
            case b"data":
                data.append(value)
    return Event(name, b"\n".join(data), event_id) if name else None
