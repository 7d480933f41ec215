"""One feed of a subject for any number of followers in this process. I/O.

A ``Broadcast`` keeps the newest messages of its subject, ready to send, up to ``KEPT_BYTES_MAX`` for each follower.
Followers read them at their own pace; one that falls behind reads from the bus until it has caught up. So a slow
follower never makes others wait, and never makes this process hold more.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final, NamedTuple, TypeAlias

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.decoding import ignoring_unreadable
from fastflow_contracts.bus.direct import StoredMessage
from fastflow_contracts.bus.feed import feed
from fastflow_gateway.streaming.stored import BATCH, Repeats

KEPT_BYTES_MAX: Final = 4 * 1024 * 1024
"""Kept of a subject for each follower: among many, the slowest is further behind and would read everything again."""
KEPT_TOTAL_BYTES_MAX: Final = 64 * 1024 * 1024
"""Kept of all subjects together: each gets its share."""
KEPT_FOR_MAX: Final = 8
"""Followers that count for what is kept."""
ITEM_BYTES: Final = 256
"""Memory of an item besides its events, in bytes."""
REPLAY_BATCH: Final = 4
"""Messages in flight for one follower that fell behind: there may be many such followers, and the NATS server drops a
connection once it holds 64 MB for it.
"""


class Item(NamedTuple):
    """One stored message, rendered as events; may be empty."""

    sequence: int
    events: bytes


Render: TypeAlias = Callable[[StoredMessage], bytes]
"""Renders a message as events. If it raises, the error is logged and the message skipped."""


class Broadcast:
    """The newest items of one subject. Create it with ``Followers.follow``."""

    def __init__(
        self,
        bus: Bus,
        stream: str,
        subject: str,
        render: Render,
        *,
        is_settled: bool,
        broadcasts: Callable[[], int] = lambda: 1,
    ) -> None:
        self._bus = bus
        self._broadcasts = broadcasts
        """How many subjects share the total."""
        self._stream = stream
        self._subject = subject
        self._render = render
        self._repeats = Repeats()
        self._items: list[Item] = []
        self._kept_bytes = 0
        self._dropped = 0
        """Sequence of the newest item that is no longer kept."""
        self.wakes: set[asyncio.Event] = set()
        self.is_caught_up = False
        """Everything stored when the newest item was sent has arrived."""
        self.is_settled = is_settled
        """The run was over when the feed began: once caught up, nothing more comes."""

    async def serve(self) -> None:
        """Receive new messages until cancelled. Called again after a failure, it goes on where it was."""
        newest = self._items[-1].sequence if self._items else self._dropped
        async with aclosing(feed(self._bus, self._stream, self._subject, after=newest, batch=BATCH)) as batches:
            async for batch in batches:
                for message in batch.messages:
                    self._keep(self._item(message, self._repeats))
                self.is_caught_up = batch.caught_up
                for wake in self.wakes:
                    wake.set()

    async def items(self, after: int) -> AsyncGenerator[Item]:
        """Yield every item after sequence *after* that has arrived by now."""
        while True:
            if after < self._dropped:
                dropped = self._dropped  # its value now: during the replay more is dropped, unread
                async with aclosing(self._replay(after)) as replay:
                    async for item in replay:
                        yield item
                        after = item.sequence
                after = max(after, dropped)
            # One lookup for each item: the kept items change in between, and a slow follower must hold none of them.
            elif (kept := self._next(after)) is not None:
                yield kept
                after = kept.sequence
            else:
                return

    async def _replay(self, after: int) -> AsyncGenerator[Item]:
        """Yield items from the bus until the kept ones continue, or there are no more."""
        repeats = Repeats()
        # Start one earlier, because the next message may repeat it.
        replay_from = max(0, after - 1)
        async with aclosing(
            feed(self._bus, self._stream, self._subject, after=replay_from, batch=REPLAY_BATCH)
        ) as batches:
            async for batch in batches:
                for message in batch.messages:
                    item = self._item(message, repeats)
                    if item.sequence > after:
                        yield item
                        after = item.sequence
                if batch.caught_up or after >= self._dropped:
                    return

    def _next(self, after: int) -> Item | None:
        index = bisect_right(self._items, after, key=lambda item: item.sequence)
        return self._items[index] if index < len(self._items) else None

    def _keep(self, item: Item) -> None:
        self._items.append(item)
        self._kept_bytes += ITEM_BYTES + len(item.events)
        surplus = 0
        share = KEPT_TOTAL_BYTES_MAX // max(1, self._broadcasts())
        kept_bytes_max = min(share, KEPT_BYTES_MAX * min(len(self.wakes), KEPT_FOR_MAX))
        while self._kept_bytes > kept_bytes_max and surplus < len(self._items) - 1:
            self._kept_bytes -= ITEM_BYTES + len(self._items[surplus].events)
            self._dropped = self._items[surplus].sequence
            surplus += 1
        del self._items[:surplus]

    def _item(self, message: StoredMessage, repeats: Repeats) -> Item:
        events = b""
        with ignoring_unreadable("streams", message.subject):
            events = self._render(message)
        if repeats.is_repeat(message):
            events = b""
        return Item(message.sequence, events)
