"""Following subjects of a stream for ever, without a gap: across lost connections, servers and consumers. I/O only.

Messages are handed on as they come; decoding records is ``bucket``'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncGenerator
from typing import NamedTuple

import nats.errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.pull import RETRY_S, Message, Pull

log = logging.getLogger(__name__)

FEED_BATCH = 512

FEED_IDLE_S = 120.0
"""The server forgets a feed's consumer after this long without a request."""


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


async def once(bus: Bus, stream: str, subject: str) -> AsyncGenerator[Batch, None]:
    """As ``feed``, but it ends with what the stream held: the newest message of each subject, once through.

    Messages may come again after a batch that has ``restarted``. Waits for the bus as long as that takes: set a bound.
    """
    async with contextlib.aclosing(feed(bus, stream, subject)) as batches:
        async for batch in batches:
            yield batch
            if batch.caught_up:
                return


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
