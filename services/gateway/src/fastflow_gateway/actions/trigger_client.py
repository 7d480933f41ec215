"""Publish triggers and commands, and wait for the result. I/O.

This module chooses the identity of a trigger, so the run's id is known before a scheduler answers: a handler can watch
for it, and a trigger sent twice is the same run. ``Nats-Msg-Id`` is not used: the bus could drop a repeat whose first
answer was "not now".
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from typing import Final

import msgspec
import nats.errors
from aiohttp import web
from msgspec.structs import replace
from nats.aio.msg import Msg

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.decoding import decoded
from fastflow_contracts.bus.errors import TooLarge
from fastflow_contracts.ids import RunId, run_id_for_key
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.messages import REPLY_HEADER, TRIGGER_TYPE, Skipped, SkipRecord, Trigger
from fastflow_contracts.runs.run import Running, RunRecord
from fastflow_contracts.runs.skips import redrive_id
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_contracts.runs.triggers import is_event_key
from fastflow_gateway.readmodel.model import ReadModel
from fastflow_gateway.readmodel.run_index import KnownRun

ENCODED_BYTES_MAX: Final = streams.PAYLOAD_BYTES_MAX * 3 // 4
"""Largest encoded trigger. The run's input, which adds the pipeline's variables, must fit a message too."""
DECISION_S: Final = 5.0
"""How long a request waits for the result of a stored trigger or command."""
STORE_S: Final = 5.0
"""How long to try to store it."""


class TriggerClient:
    """Starts and cancels runs. Create it with ``open_trigger_client``."""

    def __init__(self, bus: Bus, model: ReadModel) -> None:
        self._bus = bus
        self._model = model
        self._inbox = bus.client.new_inbox()
        self._asked: defaultdict[RunId, set[_Answer]] = defaultdict(set)

    async def start(self, pipeline: PipelineName, trigger: Trigger) -> KnownRun | Skipped | RunId:
        """Store *trigger* and wait for its run.

        The same call with the same key always gives the same run (see ``asked_key``).

        Returns:
            The run, or why it was skipped. Only the id if the trigger is stored and no scheduler answered in time: then
            the run's record will come, also if the start is refused.

        Raises:
            TooLarge: The trigger does not fit a message; it is not stored.
            BusError: The bus did not answer. After ``Unavailable`` the trigger may or may not be stored.
        """
        is_repeatable = trigger.key is not None
        key = asked_key(trigger) if is_repeatable else uuid.uuid4().hex
        run_id = run_id_for_key(pipeline, key)
        if is_repeatable and (known := await self._model.run(run_id)):
            return known
        return await self._ask(pipeline, replace(trigger, key=key), run_id)

    async def redrive(self, skip: SkipRecord, *, key: str | None = None) -> KnownRun | Skipped | RunId:
        """Start the message of *skip* and wait for its run. Repeats without a *key* give the same run.

        Args:
            skip: The skip; it has an id, and its pipeline is a name.
            key: Identifies a wish for one more run of the same message.

        Returns and raises as ``start``.
        """
        assert skip.id is not None
        run_id = await redrive_id(skip.id, key, self._record)
        if known := await self._model.run(run_id):
            return known
        return await self._ask(PipelineName(skip.pipeline), Trigger(redrive_of=skip.id, key=key), run_id)

    async def _record(self, run_id: RunId) -> RunRecord | None:
        known = await self._model.run(run_id)
        return known.run if known else None

    async def _ask(self, pipeline: PipelineName, trigger: Trigger, run_id: RunId) -> KnownRun | Skipped | RunId:
        body = messages.TRIGGER.encode(trigger)
        if len(body) > ENCODED_BYTES_MAX:
            raise TooLarge(f"the start has {len(body):,} bytes; a message holds at most {ENCODED_BYTES_MAX:,}.")
        with self._asking(run_id) as answer, self._model.watching(run_id, answer.wake):
            await self._store(pipeline, body, run_id)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DECISION_S):
                    while answer.skipped is None and self._model.runs.get(run_id) is None:
                        answer.wake.clear()
                        await answer.wake.wait()
            # The run first: a trigger stored twice may be skipped because of the run that it started itself.
            if decided := await self._model.run(run_id) or answer.skipped:
                return decided
            # The client gets the id now, so a later refusal must be a run. The bus has to know that first: this process
            # may die before it hears of the refusal. The first message may have been refused already: the second then
            # starts the run, or records that it is refused.
            await self._store(pipeline, messages.TRIGGER.encode(replace(trigger, accepted=True)), run_id)
        return await self._model.run(run_id) or run_id

    async def _store(self, pipeline: PipelineName, body: bytes, run_id: RunId) -> None:
        headers = {"Content-Type": TRIGGER_TYPE, REPLY_HEADER: f"{self._inbox}.{run_id}"}
        await self._bus.publish(subjects.start(pipeline), body, headers=headers, patience_s=STORE_S)

    async def cancel(self, known: KnownRun) -> KnownRun:
        """Cancel a run; wait until its record shows it, or the wait is over."""
        if not _is_live(known.run):
            return known
        run_id = known.run.id
        with self._model.watching(run_id) as wake:
            await self._bus.publish(
                subjects.command(known.run.ref), messages.CANCEL.encode(Cancel()), patience_s=STORE_S
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DECISION_S):
                    while _is_live((self._model.runs.get(run_id) or known).run):
                        wake.clear()
                        await wake.wait()
        return await self._model.run(run_id) or known

    async def _receive(self, msg: Msg) -> None:
        run_id = RunId(msg.subject.rpartition(".")[2])
        decision = decoded(messages.DECISION, msg.data, where=msg.subject)
        if isinstance(decision, Skipped):  # a started run shows up in the model
            for answer in self._asked.get(run_id, ()):
                answer.skipped = decision
                answer.wake.set()

    @contextlib.contextmanager
    def _asking(self, run_id: RunId) -> Iterator[_Answer]:
        answer = _Answer()
        self._asked[run_id].add(answer)
        try:
            yield answer
        finally:
            self._asked[run_id].discard(answer)
            if not self._asked[run_id]:
                del self._asked[run_id]


class _Answer:
    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.skipped: Skipped | None = None


def asked_key(trigger: Trigger) -> str:
    """The identity of a call: how it came, what it starts, and the given key; not the body.

    It is JSON, so that two different calls never have the same text. A CloudEvent is the same one however it came.
    """
    if trigger.key is not None and is_event_key(trigger.key) and trigger.run_config_id is None:
        return trigger.key
    call = (trigger.triggered_by, trigger.retry_of, trigger.run_config_id, trigger.key)
    return msgspec.json.encode(call).decode()


@contextlib.asynccontextmanager
async def open_trigger_client(bus: Bus, model: ReadModel) -> AsyncIterator[TriggerClient]:
    """Open a client that receives the answers of the schedulers."""
    client = TriggerClient(bus, model)
    subscription = await bus.client.subscribe(f"{client._inbox}.*", cb=client._receive)
    try:
        yield client
    finally:
        with contextlib.suppress(nats.errors.Error):
            await subscription.unsubscribe()


def _is_live(run: RunRecord) -> bool:
    """Whether the run is neither over nor stopping."""
    return not run.is_over and not (isinstance(run.state, Running) and run.state.is_stopping)


TRIGGER_CLIENT = web.AppKey("TRIGGER_CLIENT", TriggerClient)
