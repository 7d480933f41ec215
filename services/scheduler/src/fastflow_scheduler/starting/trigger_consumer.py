"""Turns trigger messages into runs: decode, start, answer, acknowledge. I/O; ``starter`` does the starting.

A message may come twice, or two schedulers may handle it. The run's id derives from the message, so only one create
wins, and repeating the hint and the answer is harmless. A message that can never become a run is first copied to a
dead-letter subject.
"""

from __future__ import annotations

from contextlib import suppress

from msgspec.structs import replace

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
from fastflow_contracts.runs.messages import REPLY_HEADER, Decision, Declined, SkipRecord, Trigger
from fastflow_contracts.runs.triggers import BadTrigger, read_trigger
from fastflow_scheduler.starting.admission import UnknownPipeline
from fastflow_scheduler.starting.starter import Starter

log = get_logger(__name__)

AT_ONCE_MAX = 64
"""Triggers that one scheduler handles at once."""
BURIED_BYTES_MAX = streams.PAYLOAD_BYTES_MAX // 2
"""Bytes of a refused trigger that its dead letter keeps, as base64."""
AGAIN_S = 1.0
"""A trigger comes again this long after a bus error."""


class TriggerConsumer:
    """Handles triggers from the bus. Any number of schedulers can share the work."""

    def __init__(self, bus: Bus, starter: Starter) -> None:
        self._bus = bus
        self._starter = starter

    async def serve(self) -> None:
        """Handle triggers until cancelled."""
        await consume(self._bus, streams.TRIGGERS, streams.SCHEDULER, self._handle, at_once_max=AT_ONCE_MAX)

    async def _handle(self, message: Message) -> None:
        try:
            try:
                decision = await self._decide(message)
            except BadTrigger as error:
                await self._bury(message, error)
                decision = Declined(status=error.status, reason=str(error))
            await self._answer(message, decision)
        except BusError as error:
            log.warning("trigger delayed", sequence=message.sequence, error=str(error))
            await message.nak(AGAIN_S)
            return
        await message.ack_soon()

    async def _decide(self, message: Message) -> Decision:
        name = _pipeline_of(message)
        trigger = read_trigger(message.data, message.headers)
        run_id = _run_id(name, trigger, message)
        return await self._starter.start(name, trigger, run_id, identity=_identity(message))

    async def _answer(self, message: Message, decision: Decision) -> None:
        reply = message.header(REPLY_HEADER)
        if reply and subjects.is_inbox(reply):
            try:
                await self._bus.tell(reply, messages.DECISION.encode(decision))
            except Unavailable as error:
                log.debug("answer not sent", reply=reply, error=str(error))  # the record has the decision

    async def _bury(self, message: Message, error: BadTrigger) -> None:
        """Keep the trigger as it came, and show its refusal, without its content, at its pipeline if there is one."""
        token, identity = subjects.trigger_token(message.subject), _identity(message)
        skip = SkipRecord(at=message.stored_at, pipeline=token, reason=str(error))
        log.info("trigger refused", sequence=message.sequence, subject=message.subject, error=str(error))
        dead = messages.SKIP.encode(_with_payload(skip, message.data))
        await self._bus.publish(subjects.dead_trigger(token), dead, message_id=f"dead-{identity}")
        if not isinstance(error, UnknownPipeline) and (name := _name_of(token)):
            shown = messages.SKIP.encode(replace(skip, pipeline=name))
            await self._bus.publish(subjects.skipped(name), shown, message_id=f"skip-{identity}")


def _with_payload(skip: SkipRecord, payload: bytes) -> SkipRecord:
    if len(payload) <= BURIED_BYTES_MAX:
        return replace(skip, payload=payload)
    kept = f"(Of its {len(payload):,} bytes the first {BURIED_BYTES_MAX:,} are kept.)"
    return replace(skip, payload=payload[:BURIED_BYTES_MAX], reason=f"{skip.reason} {kept}")


def _identity(message: Message) -> str:
    return f"{message.sequence}-{message.stored_at.isoformat()}"


def _pipeline_of(message: Message) -> PipelineName:
    try:
        return name_of(subjects.trigger_token(message.subject))
    except FastFlowError as error:
        raise BadTrigger(str(error)) from error


def _name_of(token: str) -> PipelineName | None:
    with suppress(FastFlowError):
        return name_of(token)
    return None


def _run_id(name: PipelineName, trigger: Trigger, message: Message) -> RunId:
    if trigger.key is not None:
        return run_id_for_key(name, trigger.key)
    return run_id_for_message(streams.TRIGGERS, message.sequence, message.stored_at)
