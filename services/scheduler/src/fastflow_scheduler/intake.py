"""From a trigger message to a run: decode, decide, create, hint, answer, acknowledge. I/O; the rules are
``admission``'s.

A message may come twice, or be handled by two schedulers: the run's id is derived from it, so only one create wins
and the hint and the answer are repeated harmlessly. What can never become a run is copied to a dead-letter subject
first.
"""

from __future__ import annotations

import asyncio
import logging
import uuid

from fastflow_contracts import messages, streams, subjects
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.ids import RunId, run_id_for_key, run_id_for_message
from fastflow_contracts.messages import REPLY_HEADER, Decision, Declined, Hint, Skip, Started, Trigger
from fastflow_contracts.names import PipelineName, name_of
from fastflow_contracts.pull import ConsumerGone, Message, Pull
from fastflow_contracts.run import Run
from fastflow_contracts.runs import NoSuchRun, RunStore
from fastflow_contracts.service import now
from fastflow_contracts.triggers import BadTrigger, read_trigger
from fastflow_contracts.wire import Bus, BusError, Unavailable
from fastflow_scheduler.admission import Admitted, Defaults, admit, again

log = logging.getLogger(__name__)

BATCH = 64
"""Triggers under way at once in one scheduler."""
AGAIN_S = 1.0
"""A trigger that met trouble on the bus comes again after this long."""


class Intake:
    """Takes triggers off the bus. Any number of schedulers may."""

    def __init__(self, bus: Bus, runs: RunStore, defaults: Defaults) -> None:
        self._bus = bus
        self._runs = runs
        self._defaults = defaults

    async def serve(self) -> None:
        """Work until cancelled."""
        async with Pull(self._bus, streams.TRIGGERS, streams.SCHEDULER) as pull:
            while True:
                try:
                    batch = await pull.take(BATCH)
                except ConsumerGone as error:
                    log.warning("%s", error)
                    await asyncio.sleep(AGAIN_S)
                    continue
                async with asyncio.TaskGroup() as group:
                    for message in batch:
                        group.create_task(self._handle(message), name=f"trigger-{message.sequence}")

    async def _handle(self, message: Message) -> None:
        try:
            decision = await self._decide(message)
            await self._answer(message, decision)
        except BadTrigger as error:
            await self._bury(message, str(error))
            await self._answer(message, Declined(status=error.status, reason=str(error)))
        except BusError as error:
            log.warning("trigger %d waits: %s", message.sequence, error)
            await message.nak(AGAIN_S)
            return
        await message.ack_soon()

    async def _decide(self, message: Message) -> Decision:
        name = _pipeline_of(message)
        trigger = read_trigger(message.data, message.headers)
        run_id = _run_id(name, trigger, message)
        admitted = await self._admit(name, trigger, run_id)
        if isinstance(admitted, Declined):
            # A trigger that came twice may find its pipeline changed meanwhile: what it started stays started.
            if message.delivered > 1 and await self._exists(run_id):
                return Started(run_id=run_id)
            await self._note_refusal(name, trigger, message, admitted)
            return admitted
        if await self._runs.create(admitted.run, admitted.given):
            await hint(self._bus, admitted.run)
            log.info("run %s of %s created (%s)", run_id, name, trigger.triggered_by)
        return Started(run_id=run_id)

    async def _admit(self, name: PipelineName, trigger: Trigger, run_id: RunId) -> Admitted | Declined:
        if trigger.retry_of is not None:
            try:
                former = (await self._runs.find(trigger.retry_of)).run
                given = await self._runs.input(former)
            except NoSuchRun as error:
                return Declined(status=404, reason=str(error))
            if not former.is_over:
                return Declined(status=409, reason=f"run {former.id} is not over; cancel it first or wait for its end.")
            return again(former, given, trigger, run_id=run_id, now=now())
        entry = await self._bus.get(subjects.PIPELINES, subjects.pipeline_key(name))
        record = messages.PIPELINE.decode(entry.value) if entry else None
        return admit(name, record, trigger, run_id=run_id, defaults=self._defaults, now=now())

    async def _exists(self, run_id: RunId) -> bool:
        try:
            await self._runs.find(run_id)
        except NoSuchRun:
            return False
        return True

    async def _answer(self, message: Message, decision: Decision) -> None:
        reply = message.header(REPLY_HEADER)
        if reply:
            try:
                await self._bus.tell(reply, messages.DECISION.encode(decision))
            except Unavailable as error:
                log.debug("no answer to %s: %s", reply, error)  # the record is the truth

    async def _note_refusal(self, name: PipelineName, trigger: Trigger, message: Message, why: Declined) -> None:
        """Keep a visible entry: not everybody who publishes waits for an answer."""
        skip = Skip(
            at=message.stored_at,
            pipeline=name,
            reason=why.reason,
            triggered_by=trigger.triggered_by,
            run_config_id=trigger.run_config_id,
        )
        await self._store_notice(subjects.skipped(name), skip, message)

    async def _bury(self, message: Message, reason: str) -> None:
        token = subjects.trigger_token(message.subject)
        skip = Skip(at=message.stored_at, pipeline=token, reason=reason, payload=message.data)
        log.info("trigger %d on %s starts nothing: %s", message.sequence, message.subject, reason)
        await self._store_notice(subjects.dead_trigger(token), skip, message)

    async def _store_notice(self, subject: str, skip: Skip, message: Message) -> None:
        identity = f"notice-{message.sequence}-{message.stored_at.isoformat()}"
        await self._bus.publish(subject, messages.SKIP.encode(skip), message_id=identity)


async def hint(bus: Bus, run: Run) -> None:
    """Say that *run* may be claimed. Losing a hint delays the run until the next reconciliation, no more."""
    state = run.state
    attempt = getattr(state, "attempt", 1)
    body = Hint(pipeline=run.pipeline, run_id=run.id, attempt=attempt)
    try:
        await bus.publish(subjects.work(run.order.kind), messages.HINT.encode(body), message_id=uuid.uuid4().hex)
    except BusError as error:
        log.warning("no hint for run %s: %s", run.id, error)


def _pipeline_of(message: Message) -> PipelineName:
    try:
        return name_of(subjects.trigger_token(message.subject))
    except FastFlowError as error:
        raise BadTrigger(str(error)) from error


def _run_id(name: PipelineName, trigger: Trigger, message: Message) -> RunId:
    if trigger.key is not None:
        return run_id_for_key(name, trigger.key)
    return run_id_for_message(streams.TRIGGERS, message.sequence, message.stored_at)
