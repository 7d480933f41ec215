"""Reads the messages of one trigger and starts its runs. I/O; ``sieve``, ``quiet`` and ``lines`` decide.

The cursor is what counts: it is changed by compare-and-set, and a run's id follows from the messages. So two schedulers
that read the same trigger, or one that goes on where another was killed, start the same runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final

from fastflow_contracts.bus import foreign
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.foreign import EventMessage, NoSuchStream
from fastflow_contracts.bus.subjects import TriggerRef
from fastflow_contracts.ids import RunId, run_id_for_batch
from fastflow_contracts.pipelines.expressions.evaluator import ExpressionEvaluator
from fastflow_contracts.pipelines.format.event_triggers import TriggerSpec
from fastflow_contracts.pipelines.format.limit_policy import NO_POLICY, LimitPolicy
from fastflow_contracts.pipelines.format.run_config import RunConfig
from fastflow_contracts.pipelines.records import Version
from fastflow_contracts.runs.messages import Trigger
from fastflow_scheduler.events.held_bytes import HeldBytes
from fastflow_scheduler.events.lines import LINES_TYPE, fitting_in_one
from fastflow_scheduler.events.position import Position
from fastflow_scheduler.events.quiet import Quiet, QuietPlace
from fastflow_scheduler.events.sieve import Refused, Sieve, Wanted
from fastflow_scheduler.events.starts import EventStart, EventStarts
from fastflow_scheduler.starting.starter import Starter

CHUNK: Final = 500
"""Messages to read and to sift at once."""
AGAIN_MAX: Final = 8
"""Messages to read again at once. Each may be as large as a message can be."""
UNKNOWN_STREAM_S: Final = 5.0
"""Pause before the next look for a stream that is not there."""


class Reading:
    """The messages of one trigger of one version, from its cursor on."""

    def __init__(
        self,
        bus: Bus,
        starter: Starter,
        evaluator: ExpressionEvaluator,
        ref: TriggerRef,
        version: Version,
        held: HeldBytes,
        *,
        idle_s: float,
        policy: LimitPolicy = NO_POLICY,
        clock: Callable[[], datetime],
    ) -> None:
        """Read nothing by itself.

        Args:
            bus: The bus.
            starter: Starts the runs.
            evaluator: Evaluates the expressions.
            ref: The trigger, which *version* has and which is enabled.
            version: What is live.
            held: What all triggers of the scheduler hold of their messages.
            idle_s: Pause while nothing arrives, in seconds.
            policy: Which subjects triggers may have.
            clock: Tells the time.
        """
        self._bus = bus
        self._ref = ref
        self._held_bytes = held
        self._spec: TriggerSpec = version.spec.active_triggers()[ref.trigger]
        known = {entry.id for entry in version.spec.schedules}
        config_id = self._spec.run_config_id if self._spec.run_config_id in known else None
        config: RunConfig = version.spec.run_config(config_id)
        self._sieve = Sieve(ref.pipeline, self._spec, config, evaluator)
        self._idle_s = idle_s
        self._clock = clock
        fault = policy.subject_fault(self._spec.subject)
        self.position = Position(bus, ref, self._spec.subject, since=version.live_since, fault=fault, clock=clock)
        self._starts = EventStarts(starter, ref, self._spec, self.position)
        self.forget()

    def forget(self) -> None:
        """Read the cursor again, and all messages after it: another scheduler may have been here."""
        self.position.forget()
        self._drop()

    def _drop(self) -> None:
        """Read all messages after the cursor again."""
        self._read_to = 0
        self._last_read: EventMessage | None = None
        self._wanted: list[Wanted] = []
        self._quiet = Quiet()

    async def go_on(self) -> float:
        """Handle the next messages. Return how many seconds there is nothing to do.

        After any error ``forget`` must follow. Raises ``BusError``, ``NoRoom``.
        """
        try:
            if not await self.position.look(read_to=self._read_to):
                self._drop()
        except NoSuchStream:
            self._drop()
            return UNKNOWN_STREAM_S
        if self.position.cursor.batch_to:
            await self._finish_batch()
            return 0.0
        async with self._reading(max(self.position.cursor.done, self._read_to)) as messages:
            is_all = not messages
            if is_all:
                await self.position.idle(held=self._held())
            wanted = await self._sifted(messages)
            if self._spec.batch is not None:
                return await self._collect(wanted, is_all=is_all)
            if self._spec.debounce_seconds is None:
                return await self._start_each(wanted, messages)
            due = self._quiet_after(wanted, is_all=is_all)
        del messages, wanted  # their places are enough
        return await self._start_quiet(due, is_all=is_all)

    @asynccontextmanager
    async def _reading(self, after: int) -> AsyncIterator[list[EventMessage]]:
        """The next messages after a sequence. They are held within the block only."""
        stream = self.position.stream
        if stream.last <= after:
            yield []
            return
        async with self._held_bytes.hold() as held:
            messages = await foreign.read(self._bus, stream, self._spec.subject, after=after, most=CHUNK)
            self._held_bytes.keep(held, sum(each.size for each in messages))
            if messages:
                self._read_to = messages[-1].sequence
                self._last_read = messages[-1]._replace(data=b"", headers={})
            yield messages

    async def _start_each(self, wanted: Sequence[Wanted], messages: Sequence[EventMessage]) -> float:
        """One run for each message that is wanted."""
        if not messages:
            return self._idle_s
        await self._starts.start_all([self._starts.start_of(each) for each in wanted])
        await self._advance(
            messages[-1].sequence, at=messages[-1].stored_at, run_id=self._starts.id_of(wanted[-1]) if wanted else None
        )
        return 0.0

    def _held(self) -> int:
        return len(self._wanted) + len(self._quiet)

    async def _advance(self, done: int, *, at: datetime | None, run_id: RunId | None) -> None:
        await self.position.advance(done, at=at, run_id=run_id, last_read=self._last_read, held=self._held())

    async def _sifted(self, messages: Sequence[EventMessage]) -> list[Wanted]:
        """Those of *messages* that are wanted. Refused ones are kept as skips."""
        found = await self._sieve.sift(messages)
        await self._starts.refuse_all([each for each in found if isinstance(each, Refused)])
        return [each for each in found if isinstance(each, Wanted)]

    # Batches: written down, started, done.

    async def _collect(self, wanted: list[Wanted], *, is_all: bool) -> float:
        assert self._spec.batch is not None
        self._wanted += wanted
        wanted.clear()
        while (pause_s := await self._start_due_batch(is_all=is_all)) is None:
            pass  # all of them before more is read: otherwise those that wait grow without bound
        return pause_s

    async def _start_due_batch(self, *, is_all: bool) -> float | None:
        """Start a batch that is full or due; None: look again. Else return how long there is nothing to do."""
        assert self._spec.batch is not None
        if not self._wanted:
            if self._last_read is not None and self._read_to > self.position.cursor.done:
                await self._advance(self._read_to, at=self._last_read.stored_at, run_id=None)
            return self._idle_s if is_all else 0.0
        fitting = fitting_in_one((each.message.data for each in self._wanted), most=self._spec.batch.max)
        is_full = fitting < len(self._wanted) or fitting == self._spec.batch.max
        due_at = self._wanted[0].message.stored_at + timedelta(seconds=self._spec.batch.within_seconds)
        left_s = (due_at - self._clock()).total_seconds()
        if not is_full and not is_all:
            return 0.0
        if not is_full and left_s > 0:
            return min(self._idle_s, left_s)
        last = self._wanted[fitting - 1].message
        await self.position.write(batch_to=last.sequence, batch_at=last.stored_at)
        await self._start_batch(self._wanted[:fitting])
        return None

    async def _finish_batch(self) -> None:
        """Start the batch that somebody wrote down and did not finish."""
        wanted: list[Wanted] = []
        cursor = self.position.cursor
        after = cursor.done
        while after < cursor.batch_to:
            async with self._reading(after) as read:
                messages = [each for each in read if each.sequence <= cursor.batch_to]
                if not messages:
                    break
                after, self._last_read = messages[-1].sequence, messages[-1]._replace(data=b"", headers={})
                wanted += await self._sifted(messages)
        self._read_to = cursor.batch_to
        await self._start_batch(wanted)

    async def _start_batch(self, wanted: Sequence[Wanted]) -> None:
        """Start the batch that the cursor names."""
        last, at = self.position.cursor.batch_to, self.position.cursor.batch_at or self.position.cursor.since
        run_id = run_id_for_batch(*self._ref, self.position.stream.name, last, at)
        if wanted:
            trigger = Trigger(
                triggered_by="bus",
                event=b"".join(each.message.data for each in wanted),
                event_type=LINES_TYPE,
                event_headers={"content-type": LINES_TYPE},
                run_config_id=self._spec.run_config_id,
                trigger_id=self._spec.id,
                event_subject=self._spec.subject,
            )
            await self._starts.start_all([EventStart(run_id, trigger)])
        self._wanted = [each for each in self._wanted if each.message.sequence > last]
        await self._advance(last, at=at, run_id=run_id if wanted else None)

    # Quiet: the newest message of each key, once nothing follows it.

    def _quiet_after(self, wanted: Sequence[Wanted], *, is_all: bool) -> list[QuietPlace]:
        """What is due after these messages."""
        wait = timedelta(seconds=self._spec.debounce_seconds or 0)
        due: list[QuietPlace] = []
        for each in wanted:
            due += self._quiet.due(each.message.stored_at, wait)
            self._quiet.add(each.key or "", each.message)
        if is_all:  # nothing more has arrived so far
            due += self._quiet.due(self._clock(), wait)
        return due

    async def _start_quiet(self, due: Sequence[QuietPlace], *, is_all: bool) -> float:
        run_id: RunId | None = None
        for begin in range(0, len(due), AGAIN_MAX):
            async with self._held_bytes.hold():
                run_id = await self._start_again(due[begin : begin + AGAIN_MAX]) or run_id
        first = self._quiet.first
        done = first.sequence - 1 if first else self._read_to
        if done > self.position.cursor.done:
            last = self._last_read if self._last_read is not None and self._last_read.sequence == done else None
            await self._advance(done, at=last.stored_at if last else None, run_id=run_id)
        return self._idle_s if is_all else 0.0

    async def _start_again(self, places: Sequence[QuietPlace]) -> RunId | None:
        """Read the messages at *places* again, and start their runs. Return the last one.

        A message that its stream removed meanwhile starts none, which is noted.
        """
        stream = self.position.stream.name
        found = await asyncio.gather(*(foreign.message_at(self._bus, stream, *place) for place in places))
        wanted = [Wanted(each, self._sieve.trigger(each), None) for each in found if each is not None]
        await self._starts.start_all([self._starts.start_of(each) for each in wanted])
        if len(wanted) < len(places):
            await self.position.note_removed(len(places) - len(wanted))
        return self._starts.id_of(wanted[-1]) if wanted else None
