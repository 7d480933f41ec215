"""Taking messages from a consumer: one pull request stays open on the server, so a message arrives without polling.
I/O only.

It asks again at once when the connection was replaced, and uses no library callback for work.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from datetime import datetime

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from fastflow_contracts.bus.client import ANSWER_S, Bus, header
from fastflow_contracts.bus.errors import Unavailable

REQUEST_S = 20.0
"""How long one pull request waits on the server before it is renewed."""
BEAT_S = 3.0
"""How often the server sends a heartbeat while a request waits."""
OVERDUE_S = 7.0
"""A request without a sign of life for this long is given up: its server is gone or lost it."""
RETRY_S = 0.25
"""Pause before the next look for a lost consumer."""


class Message:
    """One stored message, with the verbs of JetStream."""

    __slots__ = ("_msg", "data", "delivered", "sequence", "stored_at", "subject")

    def __init__(self, msg: Msg) -> None:
        meta = msg.metadata
        self._msg = msg
        self.subject: str = msg.subject
        self.data: bytes = msg.data
        self.sequence: int = meta.sequence.stream
        self.delivered: int = meta.num_delivered
        self.stored_at: datetime = meta.timestamp

    @property
    def headers(self) -> dict[str, str]:
        return dict(self._msg.headers or {})

    def header(self, name: str) -> str | None:
        return header(self._msg, name)

    async def ack(self) -> None:
        """Acknowledge and wait for the server. Without its answer the message comes again, which must be harmless."""
        with contextlib.suppress(nats.errors.Error, TimeoutError):
            await self._msg.ack_sync(timeout=ANSWER_S)

    async def ack_soon(self) -> None:
        """Acknowledge without waiting for the server."""
        with contextlib.suppress(nats.errors.Error):
            await self._msg.ack()

    async def nak(self, delay_s: float) -> None:
        """Ask for another delivery after *delay_s* seconds."""
        with contextlib.suppress(nats.errors.Error):
            await self._msg.nak(delay=delay_s)

    async def term(self) -> None:
        """Stop all further deliveries. Keep a copy first."""
        with contextlib.suppress(nats.errors.Error):
            await self._msg.term()


class ConsumerGone(Unavailable):
    """The consumer behind a pull does not exist, or its server is away."""


class Pull:
    """An open pull request of one consumer. One task at a time may ``take``."""

    def __init__(self, bus: Bus, stream: str, consumer: str) -> None:
        self._bus = bus
        self._request_subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._consumer = consumer
        self._queue: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self.outstanding = 0
        """How many messages the open request may still bring."""
        self._gone = False
        self._generation = -1
        self._heard_at = 0.0
        self._subscription: Subscription | None = None

    async def __aenter__(self) -> Pull:
        self._bus.wake_on_reconnect.add(self._arrived)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._bus.wake_on_reconnect.discard(self._arrived)
        await self._forget_request()

    async def take(self, batch: int) -> list[Message]:
        """Return messages as soon as there are any; [] if none came. Requests at most *batch* at once.

        Returns within ``REQUEST_S + OVERDUE_S``, and within ``OVERDUE_S`` of the server's last message. Raises
        ``ConsumerGone``.
        """
        if not self._queue:
            await self._request(batch)
            await self._wait()
        messages = list(self._queue)
        self._queue.clear()
        if not messages and self._gone:
            self._gone = False
            raise ConsumerGone(f"the bus has no consumer {self._consumer} right now.")
        return messages

    @property
    def is_overdue(self) -> bool:
        """Whether the server was silent for so long that the request is lost."""
        return asyncio.get_running_loop().time() >= self._heard_at + OVERDUE_S

    async def _request(self, batch: int) -> None:
        if self.outstanding and self._generation == self._bus.generation and not self.is_overdue:
            return
        body = {"batch": batch, "expires": int(REQUEST_S * 1e9), "idle_heartbeat": int(BEAT_S * 1e9)}
        self._generation = self._bus.generation
        self.outstanding = batch
        self._heard_at = asyncio.get_running_loop().time()
        await self._forget_request()
        # An inbox of its own: with its end the server forgets the request, which may have any number of answers.
        inbox = self._bus.client.new_inbox()
        try:
            self._subscription = await self._bus.client.hear(inbox, self._receive)
            await self._bus.client.publish(self._request_subject, json.dumps(body).encode(), reply=inbox)
        except nats.errors.Error:
            self.outstanding = 0  # not connected: _wait returns with the next connection

    async def _forget_request(self) -> None:
        """End the inbox of the last request, of which everything has arrived or is given up."""
        former, self._subscription = self._subscription, None
        if former is not None:
            with contextlib.suppress(nats.errors.Error):
                await former.unsubscribe()

    async def _wait(self) -> None:
        self._arrived.clear()
        if self._queue or self._gone or self._generation != self._bus.generation:
            return
        while not self._arrived.is_set() and not self.is_overdue:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._heard_at + OVERDUE_S):
                    await self._arrived.wait()

    def _receive(self, msg: Msg) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        status = (msg.headers or {}).get("Status")
        if status is None or msg.reply.startswith("$JS.ACK"):
            self.outstanding = max(0, self.outstanding - 1)
            self._queue.append(Message(msg))
        elif status == "100":  # a beat
            return
        else:
            self.outstanding = 0
            description = (msg.headers or {}).get("Description", "")
            self._gone = status == "503" or (status == "409" and "Consumer" in description)
        self._arrived.set()
