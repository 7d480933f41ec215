"""Read stored messages directly from a stream, many with one request, without a consumer. I/O only.

Any server with a copy of the stream answers, perhaps one that is slightly behind. What it sends is a beginning of what
follows, so a reader that asks again from its last message misses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import nats.errors
from nats.aio.msg import Msg

from fastflow_contracts.bus.client import ANSWER_S, READ_S, Bus
from fastflow_contracts.bus.errors import Rejected, Unavailable
from fastflow_contracts.bus.streams import bucket_stream

BATCH_BYTES_MAX: Final = 16 * 1024 * 1024
"""Most bytes of one answer, unless its first message is larger. A server drops a client that is 64 MB behind."""
_OWN_HEADERS: Final = frozenset(
    {"Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp", "Nats-Num-Pending", "Nats-Last-Sequence"}
)


class StoredMessage:
    """One message of a stream. ``pending``: how many more there were when it was sent."""

    __slots__ = ("_headers", "_previous", "data", "pending", "sequence", "stored_at", "subject")

    def __init__(self, msg: Msg) -> None:
        # The server adds its own headers after the publisher's, and the last one of a name counts.
        headers = msg.headers or {}
        self._headers = headers
        self._previous = int(headers["Nats-Last-Sequence"])
        self.subject: str = headers["Nats-Subject"]
        self.data: bytes = msg.data
        self.sequence: int = int(headers["Nats-Sequence"])
        self.pending: int = int(headers["Nats-Num-Pending"])
        self.stored_at: datetime = datetime.fromisoformat(headers["Nats-Time-Stamp"])

    @property
    def headers(self) -> dict[str, str]:
        """The publisher's headers."""
        return {name: value for name, value in self._headers.items() if name not in _OWN_HEADERS}

    def header(self, name: str) -> str | None:
        """Return a header of the publisher, ignoring case."""
        wanted = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == wanted), None)

    def follows(self, sequence: int) -> bool:
        """Return whether the message with *sequence* is the one before in the same answer; 0: this is the first."""
        return self._previous == sequence


async def following(bus: Bus, stream: str, subject: str, *, after: int, most: int) -> list[StoredMessage]:
    """Return the next messages on *subject*, oldest first; [] if there is none.

    Args:
        bus: The bus.
        stream: The stream that stores them.
        subject: Their subject; wildcards are allowed.
        after: Sequence after which to begin.
        most: Most messages of the answer.

    Raises:
        Unavailable: The bus does not answer, or a part of the answer is lost.
    """
    messages, _ = await _ask(bus, stream, {"seq": after + 1, "next_by_subj": subject, "batch": most})
    return messages


async def newest_of(bus: Bus, stream: str, subjects: Sequence[str], *, at_least: int) -> list[StoredMessage]:
    """Return the newest message on each of *subjects*, at most 1024, in the order of the stream.

    Args:
        bus: The bus.
        stream: The stream that stores them.
        subjects: Subjects that have messages.
        at_least: The server that answers must have this sequence.

    Raises:
        Unavailable: As ``following``, or the server is behind, or no subject has a message any more.
    """
    messages, end = await _ask(bus, stream, {"multi_last": list(subjects), "batch": len(subjects)})
    if not messages or int((end.headers or {}).get("Nats-UpTo-Sequence", 0)) < at_least:
        raise Unavailable(f"a server of the bus is behind with {stream}.")
    return messages


async def stored_on(bus: Bus, bucket: str, subjects: Sequence[str]) -> list[StoredMessage]:
    """Return the newest message on each of *subjects* of a bucket, at most 1024, of which some may have none.

    Messages may be missing: those beyond ``BATCH_BYTES_MAX``. Raises ``Unavailable`` as ``following``.
    """
    wanted = {"multi_last": list(subjects), "batch": len(subjects)}
    messages, _ = await _ask(bus, bucket_stream(bucket), wanted)
    return messages


async def subjects_of(bus: Bus, stream: str, subject: str) -> list[str]:
    """Return the subjects that match *subject* and have messages, sorted. Raises ``Unavailable``."""
    found: list[str] = []
    while True:
        # A page begins with the last subject of the page before: otherwise one that was removed meanwhile would move
        # another one over the edge.
        offset = max(0, len(found) - 1)
        request = json.dumps({"subjects_filter": subject, "offset": offset}).encode()
        try:
            answer = json.loads(await bus.ask(f"$JS.API.STREAM.INFO.{stream}", request))
        except Rejected as error:
            raise Unavailable(str(error)) from error
        if "error" in answer:
            raise Unavailable(f"the bus did not list {subject}: {answer['error'].get('description')}.")
        page = sorted(answer["state"].get("subjects") or {})
        if found and page[:1] != found[-1:]:
            raise Unavailable(f"the list of {subject} changed while it was read.")
        found += page[1:] if found else page
        if len(page) <= 1 or len(found) >= int(answer.get("total", 0)):
            return found


class _Silent(Unavailable):
    """No part of an answer came."""


async def _ask(bus: Bus, stream: str, request: dict[str, Any]) -> tuple[list[StoredMessage], Msg]:
    """Return the messages of one answer and the mark of its end. Asks again while nothing comes: ``READ_S``."""
    *others, last = READ_S
    for silent_s in others:
        with contextlib.suppress(_Silent):
            return await _ask_once(bus, stream, request, silent_s)
    return await _ask_once(bus, stream, request, last)


async def _ask_once(bus: Bus, stream: str, request: dict[str, Any], silent_s: float) -> tuple[list[StoredMessage], Msg]:
    """As ``_ask``. Raises ``_Silent`` if nothing comes for *silent_s* seconds."""
    messages: list[StoredMessage] = []
    end: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
    heard = asyncio.Event()

    def receive(msg: Msg) -> None:
        # Not by "Status": a publisher may have sent a header of that name.
        if "Nats-Sequence" in (msg.headers or {}):
            messages.append(StoredMessage(msg))
        elif not end.done():
            end.set_result(msg)
        heard.set()

    generation = bus.generation
    body = json.dumps({**request, "max_bytes": BATCH_BYTES_MAX}).encode()
    # An inbox of its own: with its end the server forgets the request, which may have any number of answers.
    inbox = bus.client.new_inbox()
    try:
        subscription = await bus.client.hear(inbox, receive)
        bus.wake_on_reconnect.add(heard)
        try:
            await bus.client.publish(f"$JS.API.DIRECT.GET.{stream}", body, reply=inbox)
            while not end.done():
                async with asyncio.timeout(ANSWER_S if messages else silent_s):
                    await heard.wait()
                heard.clear()
                if bus.generation != generation:
                    raise Unavailable(f"the connection was lost while {stream} was read.")
        finally:
            bus.wake_on_reconnect.discard(heard)
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()
    except (nats.errors.Error, TimeoutError) as error:
        kind = _Silent if isinstance(error, TimeoutError) and not messages else Unavailable
        raise kind(f"the bus did not answer while {stream} was read.") from error
    headers = end.result().headers or {}
    status = headers.get("Status")
    if status == "404":
        return [], end.result()
    if status != "204":
        raise Unavailable(f"the bus refused to read {stream}: {status} {headers.get('Description', '')}.")
    last = 0
    for message in messages:
        if not message.follows(last):
            break
        last = message.sequence
    if last != int(headers.get("Nats-Last-Sequence", 0)):
        raise Unavailable(f"a part of {stream} was lost on its way.")
    return messages, end.result()
