"""Follow subjects of a stream without end and without gaps, across lost connections, servers and consumers. I/O only.

A feed yields raw messages; ``bucket`` decodes records.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator
from typing import NamedTuple

import nats.errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.pull import RETRY_S, Message, Pull
from fastflow_contracts.log import get_logger

log = get_logger(__name__)

FEED_BATCH = 512

FEED_IDLE_S = 120.0
"""The server removes a feed's consumer after this long without a request."""


class Batch(NamedTuple):
    """Messages in stream order. ``caught_up``: the stream had nothing more when the last one was sent."""

    messages: list[Message]
    caught_up: bool
    restarted: bool
    """The feed starts its snapshot again with this batch: discard the earlier ones."""


async def feed(
    bus: Bus, stream: str, subject: str, *, after: int | None = None, batch: int = FEED_BATCH
) -> AsyncGenerator[Batch, None]:
    """Follow *subject* without end, in order, without gaps or repeats.

    The feed resumes by itself after the connection, the server or the consumer was lost. An interrupted snapshot starts
    again.

    Args:
        bus: The bus.
        stream: Stream of the messages.
        subject: Subject to follow; wildcards are allowed.
        after: None: first the newest message of each subject, then every new one; the first batch may be empty.
            Else every message with a greater stream sequence.
        batch: Most messages in flight. A slow reader keeps that many in memory.
    """
    from_snapshot = after is None
    last = after or 0
    caught_up = not from_snapshot
    while True:
        # The server counts messages that were on their way when a connection broke as delivered. The consumer does not
        # send them again, and after the last message of the stream nothing reveals the gap. So each new connection
        # needs a new consumer.
        generation = bus.generation
        try:
            consumer, pending = await _ephemeral(bus, stream, subject, None if not caught_up else last)
        except Unavailable as error:
            log.debug("feed delayed", subject=subject, error=str(error))
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
                        break  # a message was lost: only a new consumer sends it again
                    expected += len(messages)
                    caught_up = caught_up or messages[-1].pending == 0
                    last = max(last, messages[-1].sequence)
                    yield Batch(messages, caught_up=messages[-1].pending == 0, restarted=restarted)
                    restarted = False
            except Unavailable:
                await asyncio.sleep(RETRY_S)
            finally:
                with contextlib.suppress(Unavailable):  # the server removes it later anyway, and may be gone now
                    await bus.tell(f"$JS.API.CONSUMER.DELETE.{stream}.{consumer}", b"")


async def once(bus: Bus, stream: str, subject: str) -> AsyncGenerator[Batch, None]:
    """As ``feed``, but end after the stored messages: the newest one of each subject.

    Messages may come again after a batch with ``restarted``. Waits for the bus without a limit: set a timeout.
    """
    async with contextlib.aclosing(feed(bus, stream, subject)) as batches:
        async for batch in batches:
            yield batch
            if batch.caught_up:
                return


async def _ephemeral(bus: Bus, stream: str, subject: str, after: int | None) -> tuple[str, int]:
    """Create a feed's consumer. Return its name and the number of pending messages."""
    config = ConsumerConfig(
        name=uuid.uuid4().hex,  # part of the request's subject, where permissions apply
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
        raise Unavailable(f"the bus gave no consumer for {subject}: {error}.") from error
    assert info.name is not None
    return info.name, info.num_pending or 0
