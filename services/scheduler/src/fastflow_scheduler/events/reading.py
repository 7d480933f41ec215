"""Reads the messages of one trigger and starts its runs. I/O; ``sieve``, ``quiet`` and ``lines`` decide.

The cursor is what counts: it is changed by compare-and-set, and a run's id follows from the messages. So two schedulers
that read the same trigger, or one that goes on where another was killed, start the same runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from fastflow_contracts.bus import foreign
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.foreign import EventMessage, NoSuchStream
from fastflow_contracts.bus.subjects import TriggerRef
from fastflow_contracts.ids import RunId, run_id_for_batch, run_id_for_event, run_id_for_key
from fastflow_contracts.pipelines.expressions.evaluator import ExpressionEvaluator
from fastflow_contracts.pipelines.format.event_triggers import TriggerSpec
from fastflow_contracts.pipelines.format.run_config import RunConfig
from fastflow_contracts.pipelines.records import Version
from fastflow_contracts.runs.messages import Skipped, Trigger
from fastflow_contracts.runs.skips import Letter
from fastflow_contracts.runs.triggers import EVENT_BYTES_MAX
from fastflow_scheduler.events.lines import LINES_TYPE, fitting_in_one, line
from fastflow_scheduler.events.position import Position
from fastflow_scheduler.events.quiet import Quiet
from fastflow_scheduler.events.sieve import Refused, Sieve, Wanted
from fastflow_scheduler.starting.starter import Starter

CHUNK: Final = 500
"""Messages to read and to sift at once."""
STARTING_MAX: Final = 32
"""Runs of one trigger to create at once."""
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
        *,
        idle_s: float,
        clock: Callable[[], datetime],
    ) -> None:
        """Read nothing by itself.

        Args:
            bus: The bus.
            starter: Starts the runs.
            evaluator: Evaluates the expressions.
            ref: The trigger, which *version* has and which is enabled.
            version: What is live.
            idle_s: Pause while nothing arrives, in seconds.
            clock: Tells the time.
        """
        self._bus = bus
        self._starter = starter
        self._ref = ref
        self._spec: TriggerSpec = version.spec.active_triggers()[ref.trigger]
        known = {entry.id for entry in version.spec.schedules}
        config_id = self._spec.run_config_id if self._spec.run_config_id in known else None
        config: RunConfig = version.spec.run_config(config_id)
        self._sieve = Sieve(ref.pipeline, self._spec, config, evaluator)
        self._idle_s = idle_s
        self._clock = clock
        self._at_once = asyncio.Semaphore(STARTING_MAX)
        self.position = Position(bus, ref, self._spec.subject, since=version.live_since, clock=clock)
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
        messages = await self._read(max(self.position.cursor.done, self._read_to))
        if not messages:
            await self.position.idle(held=self._held())
        wanted = await self._sifted(messages)
        if self._spec.batch is not None:
            return await self._collect(wanted, is_all=not messages)
        if self._spec.debounce_seconds is not None:
            return await self._wait_for_quiet(wanted, messages)
        if not messages:
            return self._idle_s
        await self._start_all([(self._id(each), each.trigger) for each in wanted])
        await self._advance(
            messages[-1].sequence, at=messages[-1].stored_at, run_id=self._id(wanted[-1]) if wanted else None
        )
        return 0.0

    async def _read(self, after: int) -> list[EventMessage]:
        """The next messages after a sequence."""
        stream = self.position.stream
        if stream.last <= after:
            return []
        messages = await foreign.read(self._bus, stream, self._spec.subject, after=after, most=CHUNK)
        if messages:
            self._read_to, self._last_read = messages[-1].sequence, messages[-1]
        return messages

    def _held(self) -> int:
        return len(self._wanted) + len(self._quiet)

    async def _advance(self, done: int, *, at: datetime | None, run_id: RunId | None) -> None:
        await self.position.advance(
            done, at=at, run_id=run_id, last_read=self._last_read, held=len(self._wanted) + len(self._quiet)
        )

    async def _sifted(self, messages: Sequence[EventMessage]) -> list[Wanted]:
        """Those of *messages* that are wanted. Refused ones are kept as skips."""
        found = await self._sieve.sift(messages)
        await self._gather([self._refuse(each) for each in found if isinstance(each, Refused)])
        return [each for each in found if isinstance(each, Wanted)]

    async def _refuse(self, refused: Refused) -> None:
        message, too_large = refused.message, len(refused.message.data) > EVENT_BYTES_MAX
        letter = Letter(message.data, dict(message.headers)) if too_large else None
        why = Skipped(status=422, reason=f"trigger {self._spec.id}: {refused.reason}")
        async with self._at_once:
            await self._starter.refuse(self._ref.pipeline, refused.trigger, self._own_id(message), why, letter=letter)

    def _id(self, wanted: Wanted) -> RunId:
        if wanted.key is not None and self._spec.debounce_seconds is None:
            return run_id_for_key(self._ref.pipeline, wanted.key)
        return self._own_id(wanted.message)

    def _own_id(self, message: EventMessage) -> RunId:
        return run_id_for_event(*self._ref, self.position.stream.name, message.sequence, message.stored_at)

    async def _start_all(self, starts: Sequence[tuple[RunId, Trigger]]) -> None:
        """Start them; one that is refused is kept as a skip. Raises ``BusError``, ``NoRoom``."""

        async def start(run_id: RunId, trigger: Trigger) -> None:
            async with self._at_once:
                await self._starter.start(self._ref.pipeline, trigger, run_id)

        # The same key twice is one run: only one of the two may create it.
        await self._gather([start(run_id, trigger) for run_id, trigger in dict(reversed(starts)).items()])

    async def _gather(self, work: Sequence[object]) -> None:
        """Do all of *work*, then raise the first error."""
        for done in await asyncio.gather(*work, return_exceptions=True):  # type: ignore[call-overload]
            if isinstance(done, BaseException):
                raise done

    # Batches: written down, started, done.

    async def _collect(self, wanted: list[Wanted], *, is_all: bool) -> float:
        assert self._spec.batch is not None
        self._wanted += wanted
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
        return 0.0

    async def _finish_batch(self) -> None:
        """Start the batch that somebody wrote down and did not finish."""
        wanted: list[Wanted] = []
        cursor = self.position.cursor
        after = cursor.done
        while after < cursor.batch_to:
            messages = [each for each in await self._read(after) if each.sequence <= cursor.batch_to]
            if not messages:
                break
            after, self._last_read = messages[-1].sequence, messages[-1]
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
                event=b"".join(line(each.message.data) for each in wanted),
                event_type=LINES_TYPE,
                event_headers={"content-type": LINES_TYPE},
                run_config_id=self._spec.run_config_id,
                trigger_id=self._spec.id,
                event_subject=self._spec.subject,
            )
            await self._start_all([(run_id, trigger)])
        self._wanted = [each for each in self._wanted if each.message.sequence > last]
        await self._advance(last, at=at, run_id=run_id if wanted else None)

    # Quiet: the newest message of each key, once nothing follows it.

    async def _wait_for_quiet(self, wanted: Sequence[Wanted], messages: Sequence[EventMessage]) -> float:
        wait = timedelta(seconds=self._spec.debounce_seconds or 0)
        starts: list[EventMessage] = []
        for each in wanted:
            starts += self._quiet.due(each.message.stored_at, wait)
            self._quiet.add(each.key or "", each.message)
        if not messages:  # nothing more has arrived so far
            starts += self._quiet.due(self._clock(), wait)
        await self._start_all([(self._own_id(each), self._sieve.trigger(each)) for each in starts])
        first = self._quiet.first
        done = first.sequence - 1 if first else self._read_to
        if done > self.position.cursor.done:
            last = self._last_read if self._last_read is not None and self._last_read.sequence == done else None
            await self._advance(
                done, at=last.stored_at if last else None, run_id=self._own_id(starts[-1]) if starts else None
            )
        return 0.0 if messages else self._idle_s
