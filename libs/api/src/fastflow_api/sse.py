"""Reads server-sent events. Pure: bytes in, events out."""

from __future__ import annotations

from typing import NamedTuple


class Event(NamedTuple):
    """One event. ``id`` is where ``Last-Event-ID`` goes on."""

    name: str
    data: bytes
    id: str | None


class EventReader:
    """Feed it what arrives, in pieces of any size."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> list[Event]:
        """The events that *data* completes. Comments and ``retry`` are passed over."""
        if not data:
            return []
        # Joined only when an event may end here: one event may come in a thousand pieces.
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
