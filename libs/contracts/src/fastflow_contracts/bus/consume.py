"""Working off a durable consumer, many messages at once. I/O; what a message means is its handler's business."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.pull import ConsumerGone, Message, Pull
from fastflow_contracts.errors import FastFlowError

log = logging.getLogger(__name__)

AGAIN_S: Final = 1.0
"""Pause before a lost consumer is asked again."""
TROUBLE_S: Final = 30.0
"""Pause before a message comes again whose handler failed."""


async def consume(
    bus: Bus, stream: str, consumer: str, handle: Callable[[Message], Awaitable[None]], *, at_once_max: int
) -> None:
    """Give *handle* every message as it comes, until cancelled; at most *at_once_max* are in its hands at once.

    One that takes long keeps none of the others waiting. *handle* acknowledges. If it fails, the message waits and
    comes again, perhaps to somebody who can read it: one message must not stop all others.
    """
    room = asyncio.Semaphore(at_once_max)

    async def work(message: Message) -> None:
        try:
            await handle(message)
        except Exception as error:
            told = "%s %d on %s waits for %g s: %s", stream, message.sequence, message.subject, TROUBLE_S, error
            log.error(*told) if isinstance(error, FastFlowError) else log.exception(*told)
            await message.nak(TROUBLE_S)
        finally:
            room.release()

    async with asyncio.TaskGroup() as group, Pull(bus, stream, consumer) as pull:
        while True:
            try:
                batch = await pull.take(at_once_max)
            except ConsumerGone as error:
                log.warning("%s", error)
                await asyncio.sleep(AGAIN_S)
                continue
            for message in batch:
                await room.acquire()
                group.create_task(work(message), name=f"{stream}-{message.sequence}")
