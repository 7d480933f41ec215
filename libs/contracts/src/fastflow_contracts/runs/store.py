"""Run records on the bus: the one place that creates and changes runs. I/O; ``state_machine`` has the rules.

A change is load, decide, compare-and-set on the revision, repeated if another writer was first. The record is the
truth; the writer publishes hints and responses afterwards.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.bucket import Bucket
from fastflow_contracts.bus.client import Bus, Entry, Put
from fastflow_contracts.bus.decoding import Unreadable, decoded, note_unreadable
from fastflow_contracts.bus.errors import RevisionConflict
from fastflow_contracts.bus.subjects import INPUTS, RUNS, RunRef
from fastflow_contracts.bus.together import GroupCommit
from fastflow_contracts.clock import now as wall_clock
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.artifacts.manifest import MANIFEST
from fastflow_contracts.runs.concurrency import Full, Limit, limit_sets, run_records
from fastflow_contracts.runs.result import BadResult, read_result
from fastflow_contracts.runs.run import RUN_INPUT, RunInput, RunRecord, Turn
from fastflow_contracts.runs.state.store import StateStore
from fastflow_contracts.runs.state_machine import Command, Event, Finish, decide, fold

CONFLICTS_MAX = 50
"""A change that loses this many races in a row is given up; the caller's message comes again."""
CONFLICT_PAUSE_S = 0.02
RESULTS_AT_ONCE_MAX = 4
"""Results and states that one process writes at once. The server accepts 50 unfinished batches for a stream, from all
of them."""


class NoSuchRun(FastFlowError):
    """There is no record of that run, or no longer."""


class Stored(NamedTuple):
    """A stored run, and the revision that the next write must expect."""

    run: RunRecord
    revision: int


class Changed(NamedTuple):
    """The result of a command. Without ``events`` it changed nothing."""

    stored: Stored
    events: tuple[Event, ...]

    @property
    def run(self) -> RunRecord:
        return self.stored.run


class RunStore:
    """The runs of one bus. ``records`` and ``inputs``: for callers that list or follow them."""

    def __init__(self, bus: Bus, *, clock: Callable[[], datetime] = wall_clock) -> None:
        self._bus = bus
        self._clock = clock
        self.records = run_records(bus)
        self.states = StateStore(bus)
        self.inputs: Bucket[RunRef, RunInput] = Bucket(
            bus,
            INPUTS,
            RUN_INPUT,
            keys=subjects.INPUT_KEYS,
            key_of=subjects.input_key,
            name_in=subjects.parse_input_key,
        )
        self._records_together = GroupCommit(bus, RUNS)
        self._results_turns = asyncio.Semaphore(RESULTS_AT_ONCE_MAX)
        self._inputs_together = GroupCommit(bus, INPUTS, reads=False)

    async def load(self, ref: RunRef) -> Stored:
        """The run as it is stored now.

        Raises:
            NoSuchRun: It is not there.
            Unreadable: Its record cannot be read.
            BusError: The bus does not answer.
        """
        record = await self.records.get(ref, is_exact=True)
        if record is None:
            raise NoSuchRun(f"there is no run {ref.run_id} of {ref.pipeline}; it may have been removed by age.")
        return Stored(record.value, record.revision)

    async def find(self, run_id: RunId) -> Stored:
        """As ``load``, for callers that know only the id."""
        record = await self.records.find(subjects.run_key_of_any_pipeline(run_id))
        if record is None:
            raise NoSuchRun(f"there is no run {run_id}; list the runs to see which there are.")
        return Stored(record.value, record.revision)

    async def exists(self, run_id: RunId) -> bool:
        """Return whether that run has a record, readable or not. Raises what the bus raises."""
        return await self._bus.get(RUNS, subjects.run_key_of_any_pipeline(run_id)) is not None

    async def all_of(self, pipeline: PipelineName) -> list[RunRecord]:
        """Return every run of *pipeline*, without those with unreadable records.

        Waits for the bus without a limit: set a timeout.
        """
        return [record.value for record in await self.records.items(subjects.run_keys_of(pipeline))]

    async def newest_revision_of(self, pipeline: PipelineName) -> int:
        """Return the revision of the newest change of any run of *pipeline*; 0 if there is none.

        Raises what the bus raises.
        """
        newest = await self._bus.get(RUNS, subjects.run_keys_of(pipeline), is_exact=True)
        return newest.revision if newest else 0

    async def input(self, run: RunRecord) -> RunInput:
        """Return the variables, event and parameters of a run, as stored when it was created.

        Raises as ``load``.
        """
        if not run.order.has_input:
            return RunInput()
        record = await self.inputs.get(run.ref)
        if record is not None:
            return record.value
        former = await self._former_input(run.ref)
        given = None if former is None else decoded(RUN_INPUT, former.value, where=f"{RUNS}/{former.key}")
        if given is None:
            raise NoSuchRun(f"the input of run {run.id} is no longer stored; start the pipeline again.")
        return given

    async def result(self, run: RunRecord) -> bytes | None:
        """Return the JSON that the script of *run* wrote; None if the run has no result, or is not over.

        The last attempt's counts. It was stored in the same step as the end of the run. Of a run with ``result_bytes``,
        None means that it is gone or unreadable.

        Raises:
            BusError: The bus does not answer.
        """
        if run.result_bytes is None:
            return None
        # The leading server: another one may have the record and not yet what was stored with it.
        entry = await self._bus.get(RUNS, subjects.result_key(run.ref), is_exact=True)
        if entry is None:
            return None
        try:
            return read_result(entry.value)
        except BadResult as error:  # no runner writes such; it would make every answer that holds it unreadable
            note_unreadable("result", f"{RUNS}/{entry.key}", error)
            return None

    async def create(self, run: RunRecord, given: RunInput | None, *, limits: Sequence[Limit] = ()) -> Stored | None:
        """Store a new run with its input and its place under *limits*: no run without these.

        A crash may leave an input without a run. The next try replaces it, and the bus removes it by age.

        Returns:
            The new record; None if there is one already.

        Raises:
            Full: One of *limits* is reached.
            BusError: The bus does not answer, or refuses.
        """
        record = self.records.write(run.ref, run, expect=0)
        is_given = given is None
        for _ in range(CONFLICTS_MAX):
            try:
                beside = [await limit.put_for(self._bus, run.ref) for limit in limits]
                if given is not None and not is_given:  # after the limits: a refused start leaves nothing
                    if not await self._store_input(run, given):
                        return None
                    is_given = True
                revision = (
                    (await self._bus.commit(RUNS, [record, *beside]))[0]
                    if beside
                    else await self._records_together.put(record)
                )
            except (RevisionConflict, Full) as error:
                if await self._bus.get(RUNS, subjects.run_key(run.ref)) is not None:
                    return None
                if isinstance(error, Full):
                    raise
                await self._step_aside()
            else:
                return Stored(run, revision)
        raise RevisionConflict(f"run {run.id} could not be stored: other writers were first; try again.")

    async def change(
        self, ref: RunRef, command: Command, *, known: Stored | None = None, limits: Sequence[Limit] = ()
    ) -> Changed:
        """Apply *command* to the run. *known* spares the first load; a stale one costs only a round trip.

        *limits*: those that the run enters with this change. Raises as ``load``, and ``CommandRefused`` and ``Full``.
        """
        for _ in range(CONFLICTS_MAX):
            stored = known or await self.load(ref)
            settled, state = await self.states.settle(stored.run, command)
            events = decide(stored.run, settled, now=self._clock())
            if not events:
                if known is None:
                    return Changed(stored, ())
                known = None  # only the record itself can show that nothing changes
                continue
            run = fold(stored.run, events)
            put = self.records.write(ref, run, expect=stored.revision)
            try:
                beside = [await limit.put_for(self._bus, ref) for limit in limits]
                left = [*_left_by(settled, ref), *([state.put] if state else [])] if run.is_over else []
                if left:
                    async with self._results_turns:
                        puts = [put, *beside, *left]
                        revision = (await self._bus.commit(RUNS, puts))[0]
                elif beside:
                    revision = (await self._bus.commit(RUNS, [put, *beside]))[0]
                else:
                    revision = await self._records_together.put(put)
            except RevisionConflict:
                known = None
                await self._step_aside()
                continue
            if state is not None:
                await self.states.discard(state.dropped)
            return Changed(Stored(run, revision), events)
        raise RevisionConflict(f"run {ref.run_id} changed {CONFLICTS_MAX} times before it could be written; try again.")

    async def renew(self, ref: RunRef) -> None:
        """Write record and input of a run that is not over again, so that they count as new.

        Another writer's write is as good. Raises as ``load``.
        """
        stored = await self.load(ref)
        if stored.run.is_over:
            return
        if stored.run.order.has_input:
            await self._renew_input(ref)
        with suppress(RevisionConflict):
            await self._bus.commit(RUNS, [self.records.write(ref, stored.run, expect=stored.revision)])

    async def remove(self, stored: Stored) -> None:
        """Remove a run up to this revision, with its input, permanently. This needs no room on the bus.

        A later revision stays, with its input: another process may have removed the run before, and a repeated trigger
        may have created it again. Raises ``Unavailable``.
        """
        run, revision = stored
        # The record goes last, because it leads to the others.
        if run.order.root_run_id is not None:  # its count was written when its last run began
            await self._bus.purge(RUNS, subjects.chain_key(run.order.root_run_id), until=revision)
        if run.order.turn is not None:
            await self._remove_turns(run, run.order.turn)
        if run.result_bytes is not None:  # written next, in the same batch
            await self._bus.purge(RUNS, subjects.result_key(run.ref), until=revision + 1)
        if run.artifacts_count is not None:  # after the result, or in its place; the scheduler removes the content
            await self._bus.purge(RUNS, subjects.artifacts_key(run.ref), until=revision + 2)
        if run.order.has_input:
            key = subjects.input_key(run.ref)
            if (given := await self._bus.get(INPUTS, key)) is not None:
                await self._bus.purge(INPUTS, key, until=given.revision)
            else:
                await self._bus.purge(RUNS, key, until=revision)
        await self._bus.purge(RUNS, subjects.run_key(run.ref), until=revision)

    async def withdraw(self, stored: Stored) -> None:
        """Remove a run that is not over, as ``remove``, and tell its followers. Raises ``BusError``."""
        await self.remove(stored)
        with suppress(RevisionConflict):  # it was created again
            await self.records.delete(stored.run.ref, expect=0)

    async def _remove_turns(self, run: RunRecord, turn: Turn) -> None:
        """Remove the sets of its limit if no other member is active: there may be a key for each customer or file.

        A run that enters meanwhile writes a later revision, which stays.
        """
        for key in (subjects.turns_key(run.pipeline, turn.token), subjects.starts_key(run.pipeline, turn.token)):
            with suppress(Unreadable):  # the next run builds it again
                stored, revision = await limit_sets(self._bus).load(key)
                others = [member.ref for member in stored.members if member.run_id != run.id] if stored else []
                if stored is not None and not await self._is_any_active(others):
                    await self._bus.purge(RUNS, key, until=revision)

    async def _is_any_active(self, refs: Sequence[RunRef]) -> bool:
        for ref in refs:
            record = await self.records.get(ref, is_exact=True)
            if record is not None and not record.value.is_over:
                return True
        return False

    async def _renew_input(self, ref: RunRef) -> None:
        key = subjects.input_key(ref)
        given = await self._bus.get(INPUTS, key)
        former = await self._former_input(ref) if given is None else None
        if (found := given or former) is not None:
            with suppress(RevisionConflict):
                await self._bus.commit(INPUTS, [Put(key, found.value, given.revision if given else 0)])

    async def _former_input(self, ref: RunRef) -> Entry | None:
        """The input of a run that an older version created."""
        return await self._bus.get(RUNS, subjects.input_key(ref))

    async def _store_input(self, run: RunRecord, given: RunInput) -> bool:
        """Store the input before the run it belongs to. False if the run is there already.

        An input without a run comes from a crash, or from another process that creates the same run right now; that
        process gets a moment before the input is replaced. An equal one is replaced, too: ``remove`` may have seen it.
        """
        put = self.inputs.write(run.ref, given, expect=0)
        for _ in range(CONFLICTS_MAX):
            try:
                await self._inputs_together.put(put)
            except RevisionConflict:
                await self._step_aside()
                found = await self._bus.get(INPUTS, put.key)
                if await self._bus.get(RUNS, subjects.run_key(run.ref)) is not None:
                    return False
                put = put._replace(expect=found.revision if found else 0)
            else:
                return True
        raise RevisionConflict(f"the input of run {run.id} could not be stored: other writers were first; try again.")

    async def _step_aside(self) -> None:
        await asyncio.sleep(random.uniform(0, CONFLICT_PAUSE_S))  # noqa: S311 - spreads contenders


def _left_by(command: Command, ref: RunRef) -> list[Put]:
    """What the attempt left for the time after the end of its run: its result, and what its artifacts are."""
    left: list[Put] = []
    if isinstance(command, Finish):
        if (result := command.outcome.result) is not None:
            left.append(Put(subjects.result_key(ref), result))
        if (files := command.outcome.artifacts) is not None:
            left.append(Put(subjects.artifacts_key(ref), MANIFEST.encode(files)))
    return left
