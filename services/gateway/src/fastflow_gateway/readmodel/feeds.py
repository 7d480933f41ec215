"""Feeds from the bus: each ``Feed`` is what to follow, and what its changes do. I/O."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, Final, Generic, NamedTuple, TypeVar

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.bucket import Bucket, Change, Changes
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.decoding import decoded, ignoring_unreadable
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs.messages import SKIP, SkipRecord

log = get_logger(__name__)

N = TypeVar("N")
T = TypeVar("T")

RETRY_S: Final = 0.25


class Feed(NamedTuple, Generic[N, T]):
    """Records of one kind."""

    name: str
    """Its name in /readyz while it is behind."""
    kind: str
    """The type of its records, for the count of unreadable ones."""
    changes: Callable[[], AsyncGenerator[Changes[N, T], None]]
    apply: Callable[[Change[N, T]], None]
    """Applies one change. If it raises, the error is logged and counted, and the change ignored."""
    forget: Callable[[], None]
    """Drops the effect of earlier changes: every record comes again."""
    is_shown: bool = True
    """Pages show this feed: its changes wake them."""


def bucket_feed(
    name: str,
    bucket: Bucket[N, T],
    apply: Callable[[Change[N, T]], None],
    forget: Callable[[], None],
    *,
    keys: str = "",
    is_shown: bool = True,
) -> Feed[N, T]:
    """The feed of the records in *bucket*, or of those whose keys match the filter *keys*."""
    return Feed(name, bucket.codec.name, partial(bucket.follow, keys), apply, forget, is_shown)


def skip_feed(
    bus: Bus, apply: Callable[[Change[str, SkipRecord]], None], forget: Callable[[], None], *, newest_max: int
) -> Feed[str, SkipRecord]:
    """The feed of skips: the newest *newest_max* messages, then every new one."""
    return Feed("skips", SKIP.name, partial(_skips, bus, newest_max), apply, forget)


async def follow(
    wanted: Feed[Any, Any],
    unread: set[object],
    *,
    on_batch: Callable[[Feed[Any, Any], Changes[Any, Any]], None],
) -> None:
    """Apply every change of *wanted* until cancelled. It begins with nothing.

    Args:
        wanted: What to follow.
        unread: Gets the names of the records that cannot be read now; their keys, where these name nothing.
        on_batch: Called after each batch.
    """
    wanted.forget()
    unread.clear()
    async with aclosing(wanted.changes()) as batches:
        async for batch in batches:
            if batch.restarted:
                wanted.forget()
                unread.clear()
            for each in batch.unread:
                name = each.key if each.name is None else each.name
                unread.discard(name) if each.is_deleted else unread.add(name)
            for change in batch.changes:
                unread.add(change.name)
                with ignoring_unreadable(wanted.kind, change.name):
                    wanted.apply(change)
                    unread.discard(change.name)
            on_batch(wanted, batch)


async def _skips(bus: Bus, newest_max: int) -> AsyncGenerator[Changes[str, SkipRecord], None]:
    after = max(0, await _last_sequence(bus, streams.NOTICES) - newest_max)
    async with aclosing(feed(bus, streams.NOTICES, subjects.SKIPS, after=after)) as batches:
        async for batch in batches:
            changes = [
                Change(message.subject, skip, message.sequence, message.stored_at)
                for message in batch.messages
                if (skip := decoded(SKIP, message.data, where=message.subject)) is not None
            ]
            yield Changes(changes, [], batch.caught_up, batch.restarted)


async def _last_sequence(bus: Bus, stream: str) -> int:
    while True:
        try:
            return await bus.last_sequence(stream)
        except BusError as error:
            log.debug("feed delayed", stream=stream, error=str(error))
            await asyncio.sleep(RETRY_S)
