"""Turns trigger messages into runs: decode, start, answer, acknowledge. I/O; ``starter`` does the starting.

A message may come twice, or two schedulers may handle it. The run's id derives from the message, so only one create
wins, and repeating the hint and the answer is harmless. A message that starts nothing is first kept whole, as a skip.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.consume import consume
from fastflow_contracts.bus.errors import BusError, Unavailable
from fastflow_contracts.bus.pull import Message
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.ids import RunId, run_id_for_key, run_id_for_message
from fastflow_contracts.log import get_logger
from fastflow_contracts.names import PipelineName, name_of
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.messages import REPLY_HEADER, Decision, Skipped, SkipRecord, Trigger
from fastflow_contracts.runs.skips import Letter, SkipStore
from fastflow_contracts.runs.triggers import BadTrigger, read_trigger
from fastflow_scheduler.starting.redriver import Redriver
from fastflow_scheduler.starting.starter import Starter

log = get_logger(__name__)

AT_ONCE_MAX = 64
"""Triggers, and starts by services, that one scheduler handles at once."""
SHOWN_CHARACTERS_MAX = 200
"""How much of a subject's token that names no pipeline its skip shows."""
AGAIN_S = 1.0
"""A trigger comes again this long after a bus error."""


class TriggerConsumer:
    """Handles triggers from the bus. Any number of schedulers can share the work."""

    def __init__(self, bus: Bus, starter: Starter, redriver: Redriver) -> None:
        self._bus = bus
        self._starter = starter
        self._redriver = redriver
        self._skips = SkipStore(bus)

    async def serve(self) -> None:
        """Handle triggers until cancelled."""
        async with asyncio.TaskGroup() as group:
            for consumer in (streams.SCHEDULER, streams.STARTS):
                taking = consume(self._bus, streams.TRIGGERS, consumer, self._handle, at_once_max=AT_ONCE_MAX)
                group.create_task(taking, name=f"consume-{consumer}")

    async def _handle(self, message: Message) -> None:
        try:
            await self._answer(message, await self._decide(message))
        except BusError as error:
            log.warning("trigger delayed", sequence=message.sequence, error=str(error))
            await message.nak(AGAIN_S)
            return
        await message.ack_soon()

    async def _decide(self, message: Message) -> Decision:
        token = subjects.trigger_token(message.subject)
        letter = Letter(message.data, message.headers, by_service=subjects.is_start(message.subject))
        try:
            name = name_of(token)
            trigger = read_trigger(letter.payload, letter.headers, by_service=letter.by_service)
        except FastFlowError as error:
            why = error if isinstance(error, BadTrigger) else BadTrigger(str(error))
            return await self._refuse(message, letter, _name_of(token) or token[:SHOWN_CHARACTERS_MAX], why)
        if trigger.redrive_of is not None:
            return await self._redriver.redrive(name, trigger)
        return await self._starter.start(name, trigger, _run_id(name, trigger, message), letter=letter)

    async def _answer(self, message: Message, decision: Decision) -> None:
        reply = message.header(REPLY_HEADER)
        if reply and subjects.is_inbox(reply):
            try:
                await self._bus.tell(reply, messages.DECISION.encode(decision))
            except Unavailable as error:
                log.debug("answer not sent", reply=reply, error=str(error))  # the record has the decision

    async def _refuse(self, message: Message, letter: Letter, pipeline: str, error: BadTrigger) -> Skipped:
        """Keep a message that is no trigger, under the run that it would have been."""
        run_id = run_id_for_message(streams.TRIGGERS, message.sequence, message.stored_at)
        skip = SkipRecord(id=run_id, at=message.stored_at, pipeline=pipeline, reason=str(error))
        await self._skips.keep(skip, letter)
        log.info("trigger refused", sequence=message.sequence, subject=message.subject, reason=str(error))
        return Skipped(status=error.status, reason=str(error))


def _name_of(token: str) -> PipelineName | None:
    with suppress(FastFlowError):
        return name_of(token)
    return None


def _run_id(name: PipelineName, trigger: Trigger, message: Message) -> RunId:
    if trigger.key is not None:
        return run_id_for_key(name, trigger.key)
    return run_id_for_message(streams.TRIGGERS, message.sequence, message.stored_at)
