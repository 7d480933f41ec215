"""Feeds from the bus: each ``Feed`` is a filter, and what its messages change. I/O."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final, NamedTuple

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.decoding import passed_over
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.bus.feed import Batch, feed
from fastflow_contracts.bus.pull import Message
from fastflow_contracts.bus.streams import bucket_stream
from fastflow_contracts.bus.subjects import value_key, value_subject
from fastflow_contracts.log import get_logger

log = get_logger(__name__)

RETRY_S: Final = 0.25


class Feed(NamedTuple):
    """One filter of one stream."""

    name: str
    """Its name in logs, in metrics, and in /readyz while it is behind."""
    stream: str
    subject: str
    apply: Callable[[Message], None]
    """Applies one message. If it raises, the error is logged and counted, and the message skipped."""
    forget: Callable[[], None]
    """Drops the effect of earlier messages: the newest of each subject come again."""
    is_shown: bool = True
    """Pages show this feed: its changes wake them."""
    newest_max: int | None = None
    """None: the newest message of each subject, then every change. Else: this many old ones, then every new one."""


def bucket_feed(
    name: str,
    bucket: str,
    keys: str,
    apply: Callable[[Message], None],
    forget: Callable[[], None],
    *,
    is_shown: bool = True,
) -> Feed:
    """The feed of *keys* (wildcards allowed) in a bucket."""
    return Feed(name, bucket_stream(bucket), value_subject(bucket, keys), apply, forget, is_shown)


def key_of(message: Message, bucket: str) -> str:
    """The key in *bucket* of *message*."""
    return value_key(bucket, message.subject)


def is_deletion(message: Message) -> bool:
    """Whether *message* deletes its key."""
    return message.header("KV-Operation") is not None


async def follow(bus: Bus, wanted: Feed, *, took_in: Callable[[Feed, Batch], None]) -> None:
    """Apply every message of *wanted* until cancelled; *took_in* is called after each batch."""
    async with aclosing(await _batches(bus, wanted)) as batches:
        async for batch in batches:
            if batch.restarted:
                wanted.forget()
            for message in batch.messages:
                with passed_over(wanted.name, message.subject):
                    wanted.apply(message)
            took_in(wanted, batch)


async def _batches(bus: Bus, wanted: Feed) -> AsyncGenerator[Batch]:
    if wanted.newest_max is None:
        return feed(bus, wanted.stream, wanted.subject)
    while True:
        try:
            last = await bus.last_sequence(wanted.stream)
        except BusError as error:
            log.debug("feed waits for the bus", feed=wanted.name, error=str(error))
            await asyncio.sleep(RETRY_S)
        else:
            return feed(bus, wanted.stream, wanted.subject, after=max(0, last - wanted.newest_max))
