"""Run records on the bus: the one place where a run is created and changed. I/O; the rules are ``machine``'s.

A change is load, decide, compare-and-set on the revision, and the same again when somebody else was first. The record
is the truth; hints and answers are published by whoever changed it, afterwards.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus, Put
from fastflow_contracts.bus.errors import Conflict
from fastflow_contracts.bus.subjects import RUNS, RunRef
from fastflow_contracts.clock import now as wall_clock
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.ids import RunId
from fastflow_contracts.runs.concurrency import Full, Room
from fastflow_contracts.runs.run import RUN, RUN_INPUT, Run, RunInput
from fastflow_contracts.runs.state_machine import Command, Event, decide, fold

CONFLICTS_MAX = 50
"""A change that loses this many races in a row is given up; the caller's message comes again."""
CONFLICT_PAUSE_S = 0.02


class NoSuchRun(FastFlowError):
    """There is no record of that run (any more)."""


class Stored(NamedTuple):
    """A run as it is stored, and the revision that the next write must expect."""

    run: Run
    revision: int


class Changed(NamedTuple):
    """What a command came to. ``events`` empty: it changed nothing."""

    stored: Stored
    events: tuple[Event, ...]

    @property
    def run(self) -> Run:
        return self.stored.run


class RunStore:
    """The run records of one bus."""

    def __init__(self, bus: Bus, *, clock: Callable[[], datetime] = wall_clock) -> None:
        self._bus = bus
        self._clock = clock

    async def load(self, ref: RunRef) -> Stored:
        """Raise ``NoSuchRun`` if it is not there."""
        entry = await self._bus.get(RUNS, subjects.run_key(ref), is_exact=True)
        if entry is None:
            raise NoSuchRun(f"there is no run {ref.run_id} of {ref.pipeline}; it may have been removed by age.")
        return Stored(RUN.decode(entry.value), entry.revision)

    async def find(self, run_id: RunId) -> Stored:
        """Like ``load``, for callers that know only the id."""
        entry = await self._bus.get(RUNS, subjects.run_key_of_any_pipeline(run_id))
        if entry is None:
            raise NoSuchRun(f"there is no run {run_id}; list the runs to see which there are.")
        return Stored(RUN.decode(entry.value), entry.revision)

    async def input(self, run: Run) -> RunInput:
        """What was given with the trigger and what the pipeline's variables were when it was created."""
        if not run.order.has_input:
            return RunInput()
        entry = await self._bus.get(RUNS, subjects.input_key(run.ref))
        if entry is None:
            raise NoSuchRun(f"the input of run {run.id} is not stored any more; start it anew.")
        return RUN_INPUT.decode(entry.value)

    async def create(self, run: Run, given: RunInput | None, *, room: Room | None = None) -> Stored | None:
        """Store a new run with its input and its place under *room*: no run without these. None if it is there already.

        Raises ``room.Full``.
        """
        puts = [Put(subjects.run_key(run.ref), _encoded(run), 0)]
        if given is not None:
            given_put = Put(subjects.input_key(run.ref), RUN_INPUT.encode(given), 0)
            if room is not None:  # one that is refused leaves nothing
                puts.append(given_put)
            elif not await self._store_input(run, given_put):
                return None
        for _ in range(CONFLICTS_MAX):
            try:
                beside = [] if room is None else [await room.put_for(self._bus, run.ref)]
                revisions = await self._bus.commit(RUNS, puts + beside)
            except (Conflict, Full) as error:
                if await self._bus.get(RUNS, subjects.run_key(run.ref)) is not None:
                    return None
                if isinstance(error, Full):
                    raise
                await self._step_aside()
            else:
                return Stored(run, revisions[0])
        raise Conflict(f"run {run.id} found no place among its contenders; try again.")

    async def change(
        self, ref: RunRef, command: Command, *, known: Stored | None = None, room: Room | None = None
    ) -> Changed:
        """Apply *command* to the run. *known* spares the first load; a stale one costs only a round trip.

        *room*: a limit that the run enters with this change. Raises ``NoSuchRun``, ``machine.Refused``,
        ``room.Full``, and whatever the bus raises.
        """
        for _ in range(CONFLICTS_MAX):
            stored = known or await self.load(ref)
            events = decide(stored.run, command, now=self._clock())
            if not events:
                if known is None:
                    return Changed(stored, ())
                known = None  # "already so" must be said by the record itself
                continue
            run = fold(stored.run, events)
            puts = [Put(subjects.run_key(ref), _encoded(run), stored.revision)]
            if room is not None:
                puts.append(await room.put_for(self._bus, ref))
            try:
                revisions = await self._bus.commit(RUNS, puts)
            except Conflict:
                known = None
                await self._step_aside()
                continue
            return Changed(Stored(run, revisions[0]), events)
        raise Conflict(f"run {ref.run_id} changed {CONFLICTS_MAX} times while it was to be changed; try again.")

    async def renew(self, ref: RunRef) -> None:
        """Write the record of a run that is not over once more, and its input, so that they count as new.

        Somebody else's write does as well. Raises ``NoSuchRun`` and what the bus raises.
        """
        stored = await self.load(ref)
        if stored.run.is_over:
            return
        given = await self._bus.get(RUNS, subjects.input_key(ref)) if stored.run.order.has_input else None
        puts = [Put(subjects.run_key(ref), _encoded(stored.run), stored.revision)]
        if given is not None:
            puts.append(Put(subjects.input_key(ref), given.value, given.revision))
        with suppress(Conflict):
            await self._bus.commit(RUNS, puts)

    async def _store_input(self, run: Run, put: Put) -> bool:
        """Store the input before the run it belongs to, since an atomic batch costs more than both. False if the run is
        there already.

        One that is found without a run is a crash's, or of somebody who creates the same run just now. Then it is the
        same, unless the pipeline was changed in between; so that one is given a moment before it is replaced.
        """
        for _ in range(CONFLICTS_MAX):
            try:
                await self._bus.commit(RUNS, [put])
            except Conflict:
                await self._step_aside()
                found = await self._bus.get(RUNS, put.key)
                if await self._bus.get(RUNS, subjects.run_key(run.ref)) is not None:
                    return False
                if found is not None and found.value == put.value:
                    return True
                put = put._replace(expect=found.revision if found else 0)
            else:
                return True
        raise Conflict(f"the input of run {run.id} found no place among its contenders; try again.")

    async def _step_aside(self) -> None:
        await asyncio.sleep(random.uniform(0, CONFLICT_PAUSE_S))  # noqa: S311 - spreads contenders


def _encoded(run: Run) -> bytes:
    return RUN.encode(replace(run, write_id=uuid.uuid4().hex))
