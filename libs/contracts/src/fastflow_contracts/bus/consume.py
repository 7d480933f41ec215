"""Process the messages of a durable consumer, many at once. I/O; the handler knows what a message means."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.pull import ConsumerGone, Message, Pull
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.log import get_logger

log = get_logger(__name__)

AGAIN_S: Final = 1.0
"""Pause before a request to a lost consumer is repeated."""
TROUBLE_S: Final = 30.0
"""Pause before a message is delivered again after its handler failed."""


async def consume(
    bus: Bus,
    stream: str,
    consumer: str,
    handle: Callable[[Message], Awaitable[None]],
    *,
    at_once_max: int,
    matters: Callable[[Message], bool] = lambda _: True,
) -> None:
    """Call *handle* with every message, until cancelled. A slow message does not delay the others.

    Args:
        bus: The bus.
        stream: Stream of the consumer.
        consumer: Name of the durable consumer.
        handle: Handles and acknowledges one message. If it fails, the message is delivered again after ``TROUBLE_S``,
            perhaps to a process that can read it: one message must not stop all others.
        at_once_max: How many messages are handled at once.
        matters: Whether a message is handled. One that is not is acknowledged at once, without a task.
    """
    concurrency = asyncio.Semaphore(at_once_max)

    async def work(message: Message) -> None:
        try:
            await handle(message)
        except Exception as error:
            report = log.error if isinstance(error, FastFlowError) else log.exception
            report(
                "message handler failed",
                stream=stream,
                sequence=message.sequence,
                subject=message.subject,
                retry_s=TROUBLE_S,
                error=str(error),
            )
            await message.nak(TROUBLE_S)
        finally:
            concurrency.release()

    async with asyncio.TaskGroup() as group, Pull(bus, stream, consumer) as pull:
        while True:
            try:
                batch = await pull.take(at_once_max)
            except ConsumerGone as error:
                log.warning("consumer lost", stream=stream, consumer=consumer, error=str(error))
                await asyncio.sleep(AGAIN_S)
                continue
            for message in batch:
                if not matters(message):
                    await message.ack_soon()
                    continue
                await concurrency.acquire()
                group.create_task(work(message), name=f"{stream}-{message.sequence}")
