"""Reads the messages of one trigger and starts its runs. I/O; ``sieve``, ``quiet`` and ``lines`` decide.

The cursor is what counts: it is changed by compare-and-set, and a run's id follows from the messages. So two schedulers
that read the same trigger, or one that goes on where another was killed, start the same runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from fastflow_contracts.bus import foreign
from fastflow_contracts.bus.bucket import Loaded
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.foreign import EventMessage, ForeignStream, NoSuchStream
from fastflow_contracts.bus.subjects import TriggerRef
from fastflow_contracts.ids import RunId, run_id_for_batch, run_id_for_event, run_id_for_key
from fastflow_contracts.pipelines.expressions.evaluator import ExpressionEvaluator
from fastflow_contracts.pipelines.format.event_triggers import TriggerSpec
from fastflow_contracts.pipelines.format.run_config import RunConfig
from fastflow_contracts.pipelines.records import Version
from fastflow_contracts.runs.event_cursors import EventCursor, event_cursors
from fastflow_contracts.runs.messages import Skipped, Trigger
from fastflow_contracts.runs.skips import Letter
from fastflow_contracts.runs.triggers import EVENT_BYTES_MAX
from fastflow_scheduler.events.lines import LINES_TYPE, line
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
        self._cursors = event_cursors(bus)
        self._spec: TriggerSpec = version.spec.active_triggers()[ref.trigger]
        known = {entry.id for entry in version.spec.schedules}
        config_id = self._spec.run_config_id if self._spec.run_config_id in known else None
        config: RunConfig = version.spec.run_config(config_id)
        self._sieve = Sieve(ref.pipeline, self._spec, config, evaluator)
        self._since = version.live_since
        self._idle_s = idle_s
        self._clock = clock
        self._at_once = asyncio.Semaphore(STARTING_MAX)
        self._stream: ForeignStream | None = None
        self._cursor: EventCursor | None = None
        self._revision = 0
        self.forget()

    def forget(self) -> None:
        """Read the cursor again, and all messages after it: another scheduler may have been here."""
        self._cursor = None
        self._read_to = 0
        self._last_read: EventMessage | None = None
        self._wanted: list[Wanted] = []
        self._quiet = Quiet()

    async def go_on(self) -> float:
        """Handle the next messages. Return how many seconds there is nothing to do.

        After any error ``forget`` must follow. Raises ``BusError``, ``NoRoom``.
        """
        cursor = self._cursor or await self._load()
        try:
            stream = await self._find(cursor)
        except NoSuchStream as error:
            if cursor.problem != str(error):
                await self._write(cursor, problem=str(error))
            self._stream = None
            return UNKNOWN_STREAM_S
        cursor = await self._on(cursor, stream)
        if cursor.batch_to:
            await self._finish_batch(cursor, stream)
            return 0.0
        after = max(cursor.done, self._read_to)
        messages: list[EventMessage] = []
        if stream.last > after:
            messages = await foreign.read(self._bus, stream, self._spec.subject, after=after, most=CHUNK)
        if messages:
            self._read_to, self._last_read = messages[-1].sequence, messages[-1]
        wanted = await self._sifted(messages)
        if self._spec.batch is not None:
            return await self._collect(cursor, stream, wanted, is_all=not messages)
        if self._spec.debounce_seconds is not None:
            return await self._wait_for_quiet(cursor, stream, wanted, messages)
        if not messages:
            return self._idle_s
        await self._start_all([(self._id(stream, each), each.trigger) for each in wanted])
        await self._advance(messages[-1].sequence, self._id(stream, wanted[-1]) if wanted else None)
        return 0.0

    async def _load(self) -> EventCursor:
        stored = await self._cursors.load(self._ref)
        cursor = stored.value
        if cursor is None or cursor.subject != self._spec.subject:
            cursor = EventCursor(subject=self._spec.subject, since=self._since)
            stored = Loaded(cursor, await self._cursors.put(self._ref, cursor, expect=stored.revision))
        self._cursor, self._revision = cursor, stored.revision
        return cursor

    async def _find(self, cursor: EventCursor) -> ForeignStream:
        """The stream as it is now. Raises ``NoSuchStream``."""
        if self._stream is None:
            name = await foreign.stream_with(self._bus, self._spec.subject)
        else:
            name = self._stream.name
        self._stream = await foreign.stream_now(self._bus, name)
        return self._stream

    async def _on(self, cursor: EventCursor, stream: ForeignStream) -> EventCursor:
        """The cursor on *stream*, which may be another one than before."""
        if (cursor.stream, cursor.made_at) == (stream.name, stream.made_at):
            return await self._write(cursor, problem="") if cursor.problem else cursor
        since = cursor.last_at or cursor.since
        first = await foreign.first_after(self._bus, stream, self._spec.subject, since)
        self.forget()
        return await self._write(
            cursor, stream=stream.name, made_at=stream.made_at, done=first - 1, batch_to=0, problem=""
        )

    async def _write(self, cursor: EventCursor, **changes: object) -> EventCursor:
        """Raises ``RevisionConflict``."""
        changed = replace(cursor, **changes)
        self._revision = await self._cursors.put(self._ref, changed, expect=self._revision)
        self._cursor = changed
        return changed

    async def _advance(self, done: int, run_id: RunId | None = None) -> None:
        """Write down that all messages up to *done* have started what they start."""
        assert self._cursor is not None
        changes: dict[str, object] = {"done": done, "batch_to": 0}
        if run_id is not None:
            changes |= {"last_run_id": run_id, "last_run_at": self._clock()}
        last = self._last_read
        if last is not None:
            waiting = None if last.pending is None else last.pending + len(self._wanted)
            changes |= {
                "last_at": last.stored_at if last.sequence == done else self._cursor.last_at,
                "waiting": waiting,
            }
        await self._write(self._cursor, **changes)

    async def _sifted(self, messages: Sequence[EventMessage]) -> list[Wanted]:
        """Those of *messages* that are wanted. Refused ones are kept as skips."""
        found = await self._sieve.sift(messages)
        await self._gather([self._refuse(each) for each in found if isinstance(each, Refused)])
        return [each for each in found if isinstance(each, Wanted)]

    async def _refuse(self, refused: Refused) -> None:
        stream = self._stream
        assert stream is not None
        message, too_large = refused.message, len(refused.message.data) > EVENT_BYTES_MAX
        run_id = run_id_for_event(*self._ref, stream.name, stream.made_at, message.sequence)
        letter = Letter(message.data, dict(message.headers)) if too_large else None
        why = Skipped(status=422, reason=f"trigger {self._spec.id}: {refused.reason}")
        async with self._at_once:
            await self._starter.refuse(self._ref.pipeline, refused.trigger, run_id, why, letter=letter)

    def _id(self, stream: ForeignStream, wanted: Wanted) -> RunId:
        if wanted.key is not None and self._spec.debounce_seconds is None:
            return run_id_for_key(self._ref.pipeline, wanted.key)
        return run_id_for_event(*self._ref, stream.name, stream.made_at, wanted.message.sequence)

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

    async def _collect(
        self, cursor: EventCursor, stream: ForeignStream, wanted: list[Wanted], *, is_all: bool
    ) -> float:
        assert self._spec.batch is not None
        self._wanted += wanted
        if not self._wanted:
            if self._read_to > cursor.done:
                await self._advance(self._read_to)
            return self._idle_s if is_all else 0.0
        fitting = self._fitting()
        is_full = fitting < len(self._wanted) or fitting == self._spec.batch.max
        due_at = self._wanted[0].message.stored_at + timedelta(seconds=self._spec.batch.within_seconds)
        left_s = (due_at - self._clock()).total_seconds()
        if not is_full and not is_all:
            return 0.0
        if not is_full and left_s > 0:
            return min(self._idle_s, left_s)
        last = self._wanted[fitting - 1].message.sequence
        await self._write(cursor, batch_to=last)
        await self._start_batch(stream, self._wanted[:fitting], last)
        return 0.0

    def _fitting(self) -> int:
        """How many of the first messages make one event."""
        assert self._spec.batch is not None
        size = 0
        for number, each in enumerate(self._wanted[: self._spec.batch.max]):
            size += len(line(each.message.data))
            if size > EVENT_BYTES_MAX:
                return max(1, number)
        return min(len(self._wanted), self._spec.batch.max)

    async def _finish_batch(self, cursor: EventCursor, stream: ForeignStream) -> None:
        """Start the batch that somebody wrote down and did not finish."""
        wanted: list[Wanted] = []
        after = cursor.done
        while after < cursor.batch_to:
            messages = await foreign.read(self._bus, stream, self._spec.subject, after=after, most=CHUNK)
            messages = [each for each in messages if each.sequence <= cursor.batch_to]
            if not messages:
                break
            after, self._last_read = messages[-1].sequence, messages[-1]
            wanted += await self._sifted(messages)
        self._read_to = cursor.batch_to
        await self._start_batch(stream, wanted, cursor.batch_to)

    async def _start_batch(self, stream: ForeignStream, wanted: Sequence[Wanted], last: int) -> None:
        run_id = run_id_for_batch(*self._ref, stream.name, stream.made_at, last)
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
        await self._advance(last, run_id if wanted else None)

    # Quiet: the newest message of each key, once nothing follows it.

    async def _wait_for_quiet(
        self, cursor: EventCursor, stream: ForeignStream, wanted: Sequence[Wanted], messages: Sequence[EventMessage]
    ) -> float:
        wait = timedelta(seconds=self._spec.debounce_seconds or 0)
        starts: list[EventMessage] = []
        for each in wanted:
            starts += self._quiet.due(each.message.stored_at, wait)
            self._quiet.add(each.key or "", each.message)
        if not messages:  # nothing more has arrived so far
            starts += self._quiet.due(self._clock(), wait)
        ids = [(run_id_for_event(*self._ref, stream.name, stream.made_at, each.sequence), each) for each in starts]
        await self._start_all([(run_id, self._sieve.trigger(each)) for run_id, each in ids])
        first = self._quiet.first
        done = first.sequence - 1 if first else self._read_to
        if done > cursor.done:
            await self._advance(done, ids[-1][0] if ids else None)
        return 0.0 if messages else self._idle_s
