"""Starts and refuses runs for one trigger. I/O; ``reading`` decides for which messages.

A run's id follows from its messages, so to start it again changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final, NamedTuple

from fastflow_contracts.bus.foreign import EventMessage
from fastflow_contracts.bus.subjects import TriggerRef
from fastflow_contracts.ids import RunId, run_id_for_event, run_id_for_key
from fastflow_contracts.pipelines.format.event_triggers import TriggerSpec
from fastflow_contracts.runs.messages import EventPlace, Skipped, Trigger
from fastflow_scheduler.events.position import Position
from fastflow_scheduler.events.quiet import QuietPlace
from fastflow_scheduler.events.sieve import Refused, Wanted
from fastflow_scheduler.starting.starter import Starter

STARTING_MAX: Final = 32
"""Runs of one trigger to create at once."""


class EventStart(NamedTuple):
    """A run to start."""

    run_id: RunId
    trigger: Trigger
    event_at: EventPlace | None = None
    """Where its message is; None: it has several."""


class EventStarts:
    """What one trigger starts and refuses."""

    def __init__(self, starter: Starter, ref: TriggerRef, spec: TriggerSpec, position: Position) -> None:
        self._starter = starter
        self._ref = ref
        self._spec = spec
        self._position = position
        self._at_once = asyncio.Semaphore(STARTING_MAX)

    def id_of(self, wanted: Wanted) -> RunId:
        """The run of a message, or of its key."""
        if wanted.key is not None and self._spec.debounce_seconds is None:
            return run_id_for_key(self._ref.pipeline, wanted.key)
        return self.own_id(wanted.message)

    def own_id(self, message: EventMessage | QuietPlace) -> RunId:
        """The run of this message alone."""
        return run_id_for_event(*self._ref, self._position.stream.name, message.sequence, message.stored_at)

    def start_of(self, wanted: Wanted) -> EventStart:
        """The start that one message asks for."""
        return EventStart(self.id_of(wanted), wanted.trigger, self._place(wanted.message))

    async def start_all(self, starts: Sequence[EventStart]) -> None:
        """Start them; one that is refused is kept as a skip. Raises ``BusError``, ``NoRoom``."""
        # The same key twice is one run: only one of the two may create it.
        first_of = {each.run_id: each for each in reversed(starts)}
        await self._gather([self._start(each) for each in first_of.values()])

    async def refuse_all(self, refused: Sequence[Refused]) -> None:
        """Keep them as skips. Raises ``BusError``."""
        await self._gather([self._refuse(each) for each in refused])

    async def _start(self, start: EventStart) -> None:
        async with self._at_once:
            await self._starter.start(self._ref.pipeline, start.trigger, start.run_id, event_at=start.event_at)

    async def _refuse(self, refused: Refused) -> None:
        message = refused.message
        why = Skipped(status=422, reason=f"trigger {self._spec.id}: {refused.reason}")
        async with self._at_once:
            await self._starter.refuse(
                *(self._ref.pipeline, refused.trigger, self.own_id(message), why), event_at=self._place(message)
            )

    def _place(self, message: EventMessage) -> EventPlace:
        return EventPlace(
            stream=self._position.stream.name,
            sequence=message.sequence,
            stored_at=message.stored_at,
            trigger_id=self._spec.id,
        )

    async def _gather(self, work: Sequence[Coroutine[Any, Any, None]]) -> None:
        """Do all of *work*, then raise the first error."""
        for done in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(done, BaseException):
                raise done
