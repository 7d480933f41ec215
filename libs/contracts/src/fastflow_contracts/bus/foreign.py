"""Streams of other programs, read without a consumer: found by subject, read from a sequence on. I/O only.

A consumer would deliver wherever its creator says, so services create none (ADR 37). Who reads keeps the sequence.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import nats.errors
from nats.js.errors import NotFoundError

from fastflow_contracts.bus import direct, patterns
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.nats_client import header_lines
from fastflow_contracts.bus.streams import STREAMS
from fastflow_contracts.errors import FastFlowError

AHEAD: Final = 64
"""Messages to ask for at once, of a stream that must be asked for each; fewer if they are large."""
SHOWN_MAX: Final = 5
COPY: Final = "copy it into a stream with subjects of its own (sources with subject_transforms) and name one of these"


_OWN: Final = frozenset(str(stream.name) for stream in STREAMS)


class NoSuchStream(FastFlowError):
    """No stream can be read for a subject. The text says why, and what to do."""


class ForeignStream(NamedTuple):
    """A stream as it is now."""

    name: str
    made_at: datetime
    first: int
    """Sequence of the oldest message; beyond ``last`` if there is none."""
    last: int
    is_direct: bool
    """Many messages are read with one request."""


class EventMessage(NamedTuple):
    """One message of a stream, as its sender published it."""

    subject: str
    sequence: int
    stored_at: datetime
    data: bytes
    headers: Mapping[str, str]
    pending: int | None = None
    """How many more there were; None: unknown."""

    @property
    def size(self) -> int:
        """Bytes of the message, about. Headers count: they may be all of it."""
        return len(self.data) + sum(len(name) + len(value) for name, value in self.headers.items())


async def stream_with(bus: Bus, subject: str) -> str:
    """Return the name of the one stream that stores messages on *subject*.

    Raises:
        NoSuchStream: None does, several do, or it is one of Fast-Flow's own.
        BusError: The bus does not answer.
    """
    answer = await _ask(bus, "STREAM.NAMES", {"subject": subject}, subject)
    names = sorted(answer.get("streams") or ())
    if own := _OWN.intersection(names):
        raise NoSuchStream(f"{min(own)} belongs to Fast-Flow, and starts no runs; name a subject of other programs.")
    if len(names) == 1:
        return str(names[0])
    if not names:
        raise _none(subject)
    shown = ", ".join(names[:SHOWN_MAX])
    raise NoSuchStream(f"{len(names)} streams store {subject} ({shown}); name a subject that only one of them stores.")


async def stream_now(bus: Bus, name: str, subject: str) -> ForeignStream:
    """Return the stream *name*, which takes *subject*, as it is now.

    Raises:
        NoSuchStream: There is none, its messages go to the first client that takes them, or it renames them.
        BusError: The bus does not answer.
    """
    answer = await _ask(bus, f"STREAM.INFO.{name}", {}, subject)
    config, state = answer["config"], answer["state"]
    if (retention := config.get("retention", "limits")) != "limits":
        raise NoSuchStream(
            f"the stream {name} removes what its consumers have (retention {retention}); give it the retention limits, "
            f"or {COPY}."
        )
    if not any(patterns.overlap(each, subject) for each in config.get("subjects") or ()):
        raise _none(subject)
    renamed = (config.get("subject_transform") or {}).get("dest")
    if renamed and not patterns.overlap(patterns.of_template(renamed), subject):
        raise NoSuchStream(f"the stream {name} stores {subject} as {renamed}, where no trigger finds it; {COPY}.")
    first, last = int(state["first_seq"]), int(state["last_seq"])
    return ForeignStream(name, _instant(answer["created"]), max(first, 1), last, bool(config.get("allow_direct")))


async def read(bus: Bus, stream: ForeignStream, subject: str, *, after: int, most: int) -> list[EventMessage]:
    """Return the next messages on *subject* after a sequence, oldest first; [] if there is none now.

    Raises ``BusError``.
    """
    if stream.is_direct:
        found = await direct.following(bus, stream.name, subject, after=after, most=most)
        return [EventMessage(m.subject, m.sequence, m.stored_at, m.data, m.headers, m.pending) for m in found]
    messages: list[EventMessage] = []
    while len(messages) < most and sum(each.size for each in messages) < direct.BATCH_BYTES_MAX:
        following = await _next(bus, stream.name, after + 1, subject)
        if following is None:
            break
        messages.append(following)
        # Messages often follow one another: the next ones are asked for together, whatever their subjects are.
        many = min(AHEAD, direct.BATCH_BYTES_MAX // max(following.size, 1))
        until = min(following.sequence + many, stream.last, following.sequence + most - len(messages))
        ahead = range(following.sequence + 1, until + 1)
        others = await asyncio.gather(*(_next(bus, stream.name, sequence, None) for sequence in ahead))
        messages += [each for each in others if each is not None and patterns.matches(each.subject, subject)]
        after = max(following.sequence, until)
    return messages


async def message_at(bus: Bus, stream: str, sequence: int, stored_at: datetime) -> EventMessage | None:
    """Return the message with *sequence*; None: it is not there, or another one. Raises ``BusError``."""
    found = await _next(bus, stream, sequence, None)
    return found if found is not None and found.stored_at == stored_at else None


async def stored_at(bus: Bus, stream: ForeignStream, sequence: int) -> datetime | None:
    """Return when the message with *sequence* was stored; None: it is not there. Raises ``BusError``."""
    found = await _next(bus, stream.name, sequence, None)
    return None if found is None else found.stored_at


async def first_after(bus: Bus, stream: ForeignStream, subject: str, instant: datetime) -> int:
    """Return the sequence from which on all messages on *subject* were stored after *instant*. Raises ``BusError``."""
    low, high = stream.first, stream.last + 1
    while low < high:
        middle = (low + high) // 2
        found = await _next(bus, stream.name, middle, subject)
        if found is None or found.stored_at > instant:
            high = middle
        else:
            low = found.sequence + 1
    return low


async def _next(bus: Bus, stream: str, sequence: int, subject: str | None) -> EventMessage | None:
    """The first message on *subject* from *sequence* on; without a subject: the one with it. From the leader."""
    try:
        found = await bus.js.get_msg(stream, seq=sequence, subject=subject, next=subject is not None)
    except NotFoundError:
        return None
    except (nats.errors.Error, TimeoutError) as error:
        raise Unavailable(f"the bus did not answer while {stream} was read.") from error
    assert found.subject is not None
    assert found.seq is not None
    assert found.time is not None
    # Not the library's headers: those that are no ASCII are no text there.
    headers = header_lines(base64.b64decode(found.hdrs or ""))
    return EventMessage(found.subject, found.seq, found.time, found.data or b"", headers)


async def _ask(bus: Bus, api: str, request: dict[str, Any], subject: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(await bus.ask(f"$JS.API.{api}", json.dumps(request).encode()))
    if (error := answer.get("error")) is None:
        return answer
    if error.get("code") == 404:
        raise _none(subject)
    raise Unavailable(f"the bus did not answer about {api}: {error.get('description')}.")


def _none(subject: str) -> NoSuchStream:
    return NoSuchStream(f"no stream of the bus stores {subject}; create one with this subject.")


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
