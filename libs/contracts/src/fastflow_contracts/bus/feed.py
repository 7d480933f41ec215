"""Follow subjects of a stream without end and without gaps, across lost connections and servers. I/O only.

A feed yields raw messages; ``bucket`` decodes records. It reads directly (``direct``), and has no consumer on the
server: whoever may create consumers may make the server publish on any subject. The server says on another subject
what it has stored (``subjects.told_on``). That only wakes the feed, which also looks by itself every ``LOOK_S``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator
from typing import Final, NamedTuple

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.direct import StoredMessage, following, newest_of, subjects_of
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.pull import RETRY_S
from fastflow_contracts.bus.subjects import told_on
from fastflow_contracts.log import get_logger

log = get_logger(__name__)

FEED_BATCH: Final = 512
SUBJECTS_AT_ONCE: Final = 512
"""Most subjects in one request of a snapshot."""
REQUESTS_AT_ONCE: Final = 2
"""Requests of one snapshot under way: the server answers the next one while this one's messages are read."""
LOOK_S: Final = 5.0
"""How often a feed looks without being woken."""
BEHIND_S: Final = 0.01
"""First pause before a feed asks again, if the server that answered is behind the one that woke it. Pauses double."""


class Batch(NamedTuple):
    """Some messages. ``caught_up``: the stream had nothing more when the last one was sent."""

    messages: list[StoredMessage]
    caught_up: bool
    restarted: bool
    """The feed starts its snapshot again with this batch: discard the earlier ones."""


async def feed(
    bus: Bus, stream: str, subject: str, *, after: int | None = None, batch: int = FEED_BATCH
) -> AsyncGenerator[Batch, None]:
    """Follow *subject* without end, without gaps or repeats.

    The feed resumes by itself after the connection or the server was lost. An interrupted snapshot starts again.

    Args:
        bus: The bus.
        stream: Stream of the messages.
        subject: Subject to follow; wildcards are allowed.
        after: None: first the newest message of each subject, in no order, then every new one, in order; the first
            batch may be empty. Else every message with a greater stream sequence, in order.
        batch: Most messages in flight. A slow reader keeps that many in memory.
    """
    async with _Alarm(bus, subject) as alarm:
        snapshot = _Snapshot()
        if after is None:
            async with contextlib.aclosing(snapshot.read(bus, stream, subject, batch)) as parts:
                async for part in parts:
                    yield part
            after = snapshot.floor
            is_told = True
        else:
            is_told = False
        while True:
            try:
                messages = await following(bus, stream, subject, after=after, most=batch)
            except Unavailable as error:
                log.debug("feed delayed", subject=subject, error=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            caught_up = not messages or messages[-1].pending == 0
            if messages:
                after = messages[-1].sequence
            fresh = snapshot.without_known(messages)
            if fresh or not is_told:
                is_told = True
                yield Batch(fresh, caught_up, restarted=False)
            if caught_up:
                await alarm.wait(after)


async def once(bus: Bus, stream: str, subject: str) -> AsyncGenerator[Batch, None]:
    """As ``feed``, but end after the stored messages: the newest one of each subject.

    Messages may come again after a batch with ``restarted``. Waits for the bus without a limit: set a timeout.
    """
    async with contextlib.aclosing(_Snapshot().read(bus, stream, subject, FEED_BATCH)) as parts:
        async for part in parts:
            yield part


class _Snapshot:
    """The newest message of each subject, read in parts while others write."""

    def __init__(self) -> None:
        self.floor = 0
        """Everything up to this sequence is in the snapshot, or was replaced."""
        self._newer: dict[str, int] = {}
        """Sequences above the floor that are in the snapshot already, by subject."""

    async def read(self, bus: Bus, stream: str, subject: str, batch: int) -> AsyncGenerator[Batch, None]:
        """Yield the parts; the last one has ``caught_up``. Starts again after every trouble."""
        while True:
            try:
                async with contextlib.aclosing(self._parts(bus, stream, subject, batch)) as parts:
                    async for part in parts:
                        yield part
                return
            except Unavailable as error:
                log.debug("snapshot restarted", subject=subject, error=str(error))
                await asyncio.sleep(RETRY_S)

    async def _parts(self, bus: Bus, stream: str, subject: str, batch: int) -> AsyncGenerator[Batch, None]:
        self._newer.clear()
        self.floor = await bus.last_sequence(stream)  # before the list: what the list lacks is above the floor
        found = await subjects_of(bus, stream, subject)
        if not found:
            yield Batch([], caught_up=True, restarted=True)
        most = min(batch, SUBJECTS_AT_ONCE)
        left = [found[start : start + most] for start in range(0, len(found), most)]
        under_way: deque[asyncio.Task[list[StoredMessage]]] = deque()
        restarted = True
        try:
            while left or under_way:
                while left and len(under_way) < REQUESTS_AT_ONCE:
                    request = newest_of(bus, stream, left.pop(0), at_least=self.floor)
                    under_way.append(asyncio.create_task(request, name="snapshot-part"))
                messages = await under_way[0]
                under_way.popleft()
                self._newer |= {each.subject: each.sequence for each in messages if each.sequence > self.floor}
                yield Batch(messages, caught_up=not left and not under_way, restarted=restarted)
                restarted = False
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    def without_known(self, messages: list[StoredMessage]) -> list[StoredMessage]:
        """Return the messages after the floor that are newer than what the snapshot has of their subject."""
        if not self._newer:
            return messages
        fresh = [message for message in messages if message.sequence > self._newer.get(message.subject, 0)]
        if messages and messages[-1].sequence >= max(self._newer.values()):
            self._newer.clear()
        return fresh


class _Alarm:
    """Wakes a feed when the server has stored something for it."""

    def __init__(self, bus: Bus, subject: str) -> None:
        self._bus = bus
        self._told_on = told_on(subject)
        self._rang = asyncio.Event()
        self._newest = 0
        self._pause = BEHIND_S
        self._subscription: Subscription | None = None

    async def __aenter__(self) -> _Alarm:
        self._bus.wake_on_reconnect.add(self._rang)
        with contextlib.suppress(nats.errors.Error):  # not connected: the feed looks by itself
            self._subscription = await self._bus.client.hear(self._told_on, self._ring)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._bus.wake_on_reconnect.discard(self._rang)
        if self._subscription is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._subscription.unsubscribe()

    async def wait(self, after: int) -> None:
        """Return when there may be a message after sequence *after*."""
        if self._newest > after:
            pause, self._pause = self._pause, min(2 * self._pause, LOOK_S)
        else:
            pause, self._pause = LOOK_S, BEHIND_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._rang.wait()
        self._rang.clear()

    def _ring(self, msg: Msg) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._newest = max(self._newest, int((msg.headers or {})["Nats-Sequence"]))
            self._pause = BEHIND_S
        self._rang.set()
