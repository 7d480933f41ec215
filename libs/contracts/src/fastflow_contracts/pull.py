"""Reading from streams: ``Pull`` hands out work of a durable consumer, ``Feed`` follows subjects without a gap. I/O
only.

Both keep one pull request open on the server, so a message arrives without polling; both ask again at once when the
connection was replaced. Neither uses a library callback for work.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import uuid
from collections import deque
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import NamedTuple

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from fastflow_contracts.streams import bucket_stream
from fastflow_contracts.wire import ANSWER_S, Bus, Unavailable, header

log = logging.getLogger(__name__)

REQUEST_S = 20.0
"""How long one pull request waits on the server before it is renewed."""
BEAT_S = 3.0
"""While a request waits, the server says this often that it does."""
OVERDUE_S = 7.0
"""A request of which nothing was heard for this long is given up: the server that had it is gone, or lost it."""
RETRY_S = 0.25
"""Pause before a lost consumer is looked for again."""
FEED_BATCH = 512
FEED_IDLE_S = 120.0
"""The server forgets a feed's consumer after this long without a request."""


class Message:
    """One stored message, with the verbs of JetStream."""

    __slots__ = ("_msg", "data", "delivered", "pending", "position", "sequence", "stored_at", "subject")

    def __init__(self, msg: Msg) -> None:
        meta = msg.metadata
        self._msg = msg
        self.subject: str = msg.subject
        self.data: bytes = msg.data
        self.sequence: int = meta.sequence.stream
        self.position: int = meta.sequence.consumer
        self.pending: int = meta.num_pending
        self.delivered: int = meta.num_delivered
        self.stored_at: datetime = meta.timestamp

    @property
    def headers(self) -> dict[str, str]:
        return dict(self._msg.headers or {})

    def header(self, name: str) -> str | None:
        return header(self._msg, name)

    async def ack(self) -> None:
        """Done. Waits for the server's word; if that does not come the message comes again, which must be harmless."""
        with contextlib.suppress(nats.errors.Error, TimeoutError):
            await self._msg.ack_sync(timeout=ANSWER_S)

    async def ack_soon(self) -> None:
        """Done, without waiting for the server."""
        with contextlib.suppress(nats.errors.Error):
            await self._msg.ack()

    async def nak(self, delay_s: float) -> None:
        """Not now: deliver it again after *delay_s*."""
        with contextlib.suppress(nats.errors.Error):
            await self._msg.nak(delay=delay_s)

    async def term(self) -> None:
        """Never again. Keep a copy first."""
        with contextlib.suppress(nats.errors.Error):
            await self._msg.term()


class ConsumerGone(Unavailable):
    """The consumer behind a pull does not exist (any more), or its server is not there."""


class Pull:
    """An open pull request of one consumer. One task at a time may ``take``."""

    def __init__(self, bus: Bus, stream: str, consumer: str) -> None:
        self._bus = bus
        self._request_subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._consumer = consumer
        self._inbox = bus.client.new_inbox()
        self._queue: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._outstanding = 0
        self._gone = False
        self._generation = -1
        self._heard_at = 0.0
        self._subscription: Subscription | None = None

    async def __aenter__(self) -> Pull:
        # No limits on the client's side: what may be under way is bounded by the batch of the one open request.
        self._subscription = await self._bus.client.subscribe(
            self._inbox, cb=self._receive, pending_msgs_limit=0, pending_bytes_limit=0
        )
        self._bus.wake_on_reconnect.add(self._arrived)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._bus.wake_on_reconnect.discard(self._arrived)
        if self._subscription is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._subscription.unsubscribe()

    async def take(self, batch: int) -> list[Message]:
        """At least one message as soon as there is one, at most *batch* asked for at once. [] = none this time.

        Returns within ``REQUEST_S + OVERDUE_S``, and within ``OVERDUE_S`` of the server's last word. Raises
        ``ConsumerGone``.
        """
        if not self._queue:
            await self._request(batch)
            await self._wait()
        messages = list(self._queue)
        self._queue.clear()
        if not messages and self._gone:
            self._gone = False
            raise ConsumerGone(f"the bus has no consumer {self._consumer} right now")
        return messages

    @property
    def is_overdue(self) -> bool:
        """Whether nothing was heard for so long that whatever was asked is lost."""
        return asyncio.get_running_loop().time() >= self._heard_at + OVERDUE_S

    async def _request(self, batch: int) -> None:
        if self._outstanding and self._generation == self._bus.generation and not self.is_overdue:
            return
        body = {"batch": batch, "expires": int(REQUEST_S * 1e9), "idle_heartbeat": int(BEAT_S * 1e9)}
        self._generation = self._bus.generation
        self._outstanding = batch
        self._heard_at = asyncio.get_running_loop().time()
        try:
            await self._bus.client.publish(self._request_subject, json.dumps(body).encode(), reply=self._inbox)
        except nats.errors.Error:
            self._outstanding = 0  # not connected: _wait returns with the next connection

    async def _wait(self) -> None:
        self._arrived.clear()
        if self._queue or self._gone or self._generation != self._bus.generation:
            return
        while not self._arrived.is_set() and not self.is_overdue:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._heard_at + OVERDUE_S):
                    await self._arrived.wait()

    async def _receive(self, msg: Msg) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        status = (msg.headers or {}).get("Status")
        if status is None or msg.reply.startswith("$JS.ACK"):
            self._outstanding = max(0, self._outstanding - 1)
            self._queue.append(Message(msg))
        elif status == "100":  # a beat
            return
        else:
            self._outstanding = 0
            description = (msg.headers or {}).get("Description", "")
            self._gone = status == "503" or (status == "409" and "Consumer" in description)
        self._arrived.set()


class Batch(NamedTuple):
    """Messages in stream order. ``caught_up``: there was nothing more in the stream when the last one was sent."""

    messages: list[Message]
    caught_up: bool
    restarted: bool
    """The feed begins its snapshot anew with this batch: forget what it said before."""


async def feed(
    bus: Bus, stream: str, subject: str, *, after: int | None = None, batch: int = FEED_BATCH
) -> AsyncGenerator[Batch, None]:
    """Follow *subject* (wildcards allowed) for ever, in order, without gaps or repeats.

    *after* None: first the newest message of each subject, then every change; the first batch may be empty.
    *after* N: every message whose stream sequence is greater than N. Reading goes on by itself when the connection, the
    server, or the consumer is lost and found again; a snapshot that was cut short begins anew.
    At most *batch* messages are under way at once: what a slow reader may hold.
    """
    from_snapshot = after is None
    last = after or 0
    caught_up = not from_snapshot
    while True:
        # What was on its way when a connection was lost is delivered, for the server. Its consumer will not send it
        # again, and if it was the last there is, nothing later will show the gap: a new connection needs a new one.
        generation = bus.generation
        try:
            consumer, pending = await _ephemeral(bus, stream, subject, None if not caught_up else last)
        except Unavailable as error:
            log.debug("feed of %s waits: %s", subject, error)
            await asyncio.sleep(RETRY_S)
            continue
        restarted = not caught_up
        expected = 1
        async with Pull(bus, stream, consumer) as pull:
            try:
                if pending == 0:
                    caught_up = True
                    yield Batch([], caught_up=True, restarted=restarted)
                    restarted = False
                while bus.generation == generation:
                    messages = await pull.take(batch)
                    if not messages:
                        if pull.is_overdue:
                            break  # its server is gone
                        continue
                    if [m.position for m in messages] != list(range(expected, expected + len(messages))):
                        break  # something was lost on the way: the consumer will not send it again, a new one will
                    expected += len(messages)
                    caught_up = caught_up or messages[-1].pending == 0
                    last = max(last, messages[-1].sequence)
                    yield Batch(messages, caught_up=messages[-1].pending == 0, restarted=restarted)
                    restarted = False
            except Unavailable:
                await asyncio.sleep(RETRY_S)
            finally:
                with contextlib.suppress(Unavailable):  # it forgets itself; who could answer may be gone
                    await bus.tell(f"$JS.API.CONSUMER.DELETE.{stream}.{consumer}", b"")


async def newest(bus: Bus, bucket: str, keys: str) -> list[Message]:
    """The newest value under each of *keys* (wildcards allowed), once through; what was deleted is left out.

    Waits for the bus as long as that takes, so the caller sets the bound.
    """
    found: dict[str, Message] = {}
    async with contextlib.aclosing(feed(bus, bucket_stream(bucket), f"$KV.{bucket}.{keys}")) as batches:
        async for batch in batches:
            if batch.restarted:
                found.clear()
            found |= {message.subject: message for message in batch.messages}
            if batch.caught_up:
                break
    return [message for message in found.values() if message.data]


async def _ephemeral(bus: Bus, stream: str, subject: str, after: int | None) -> tuple[str, int]:
    """Create a feed's consumer; return its name and how many messages wait for it."""
    config = ConsumerConfig(
        name=uuid.uuid4().hex,  # in the request's subject, where permissions see it
        deliver_policy=DeliverPolicy.LAST_PER_SUBJECT if after is None else DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=None if after is None else after + 1,
        filter_subject=subject,
        ack_policy=AckPolicy.NONE,
        inactive_threshold=FEED_IDLE_S,
        mem_storage=True,
        num_replicas=1,
    )
    try:
        info = await bus.js.add_consumer(stream, config)
    except (nats.errors.Error, TimeoutError) as error:
        raise Unavailable(f"the bus gave no consumer for {subject}: {error}") from error
    assert info.name is not None
    return info.name, info.num_pending or 0
