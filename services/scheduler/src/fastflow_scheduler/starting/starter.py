"""Starts runs: the only place in the scheduler that creates them. I/O; the rules are in ``admission``.

The run's id comes from the request's identity. So a repeated request, from another scheduler or after a crash between
any two steps, changes nothing. A refused start leaves a skip that users can see.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime
from weakref import WeakValueDictionary

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError, TooLarge
from fastflow_contracts.bus.subjects import RunRef, instances_key
from fastflow_contracts.clock import now as wall_clock
from fastflow_contracts.ids import RunId
from fastflow_contracts.log import get_logger
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.links import CHAIN_RUNS_MAX
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.concurrency import ChainFull, ChainLimit, ConcurrencyLimit, Full, Limit, is_not_over
from fastflow_contracts.runs.limits import Member
from fastflow_contracts.runs.messages import Decision, Hint, Skipped, SkipRecord, Started, Trigger
from fastflow_contracts.runs.room import NoRoom, Room
from fastflow_contracts.runs.run import Ended, RunRecord
from fastflow_contracts.runs.skips import Letter, SkipStore, letter_of
from fastflow_contracts.runs.store import NoSuchRun, RunStore, Stored
from fastflow_contracts.runs.triggers import BadTrigger
from fastflow_scheduler.starting.admission import (
    Admitted,
    Cause,
    Defaults,
    TooMuch,
    admit,
    again,
    refused,
    with_input_of,
)
from fastflow_scheduler.starting.chain_limits import too_many_runs

log = get_logger(__name__)

NO_CAUSE = Cause()
CREATING_MAX = 64
"""Runs to create at once; the others wait their turn."""
HINTING_MAX = 8
"""Hints to send at once: when many runs are due at one instant, all of them exist before most get a hint."""


class Starter:
    """Creates runs and hints them.

    *room*: what is free on the bus for new runs. *concurrent_max*: MAX_CONCURRENT_RUNS, 0 = no limit. *chain_runs_max*:
    most runs in one chain.
    """

    def __init__(
        self,
        bus: Bus,
        runs: RunStore,
        defaults: Defaults,
        *,
        room: Room | None = None,
        concurrent_max: int = 0,
        chain_runs_max: int = CHAIN_RUNS_MAX,
        clock: Callable[[], datetime] = wall_clock,
    ) -> None:
        self._bus = bus
        self._runs = runs
        self._pipelines = PipelineStore(bus)
        self._skips = SkipStore(bus)
        self._defaults = defaults
        self._room = room or Room(bus)
        self._concurrent_max = concurrent_max
        self._chain_runs_max = chain_runs_max
        self._clock = clock
        self._creating = asyncio.Semaphore(CREATING_MAX)
        self._hinting = asyncio.Semaphore(HINTING_MAX)
        self._chains: WeakValueDictionary[RunId, asyncio.Lock] = WeakValueDictionary()

    async def start(
        self,
        name: PipelineName,
        trigger: Trigger,
        run_id: RunId,
        *,
        cause: Cause = NO_CAUSE,
        letter: Letter | None = None,
        is_kept: bool = False,
    ) -> Decision:
        """Create run *run_id* of *name*, unless it exists already, and hint it. A refusal leaves a skip.

        Args:
            name: The pipeline.
            trigger: What to start it with.
            run_id: The id of the new run.
            cause: What caused the run, beyond the trigger.
            letter: The message that asks for it, for the skip; None: there is none.
            is_kept: A skip keeps the message already.

        Raises:
            NoRoom: There is no room for new runs now: try again later.
            BusError: The bus does not answer or refuses.
            Unreadable: The pipeline's record cannot be read.
        """
        async with self._turn(cause), self._creating:
            created = await self._create(name, trigger, run_id, cause)
        if isinstance(created, Stored):
            log.info("run created", run=run_id, pipeline=name, triggered_by=trigger.triggered_by)
            if not self._concurrent_max and not cause.wait_s:  # else the reconciler hints it later
                await self.hint(created.run, created.revision)
        # A repeated request may find its pipeline changed meanwhile: a run that it started stays started.
        if not isinstance(created, Skipped) or await self._runs.exists(run_id):
            return Started(run_id=run_id)
        await self.refuse(name, trigger, run_id, created, cause=cause, letter=letter, is_kept=is_kept)
        return created

    async def refuse(
        self,
        name: PipelineName,
        trigger: Trigger,
        run_id: RunId,
        why: Skipped,
        *,
        cause: Cause = NO_CAUSE,
        letter: Letter | None = None,
        is_kept: bool = False,
    ) -> None:
        """Keep a start that is refused, and record it as a run that is over if its caller has the run's id already.

        The arguments are those of ``start``, and the reason. Safe to repeat. Raises ``BusError``.
        """
        if not is_kept:  # first: a run without its skip would have lost its message
            await self._skips.keep(self._skip(name, trigger, run_id, cause, why), letter or letter_of(trigger))
        if trigger.accepted:
            run = refused(name, trigger, why, run_id=run_id, cause=cause, now=self._clock())
            if not await self._is_there_without_room(run_id):
                await self._runs.create(run, None)
        log.info("start refused", run=run_id, pipeline=name, reason=why.reason, accepted=trigger.accepted)

    async def hint(self, run: RunRecord, revision: int = 0) -> None:
        """Tell runners that they may claim *run*. A lost hint only delays the run until the next reconciliation.

        Args:
            run: A run; one that is over needs no hint.
            revision: The revision of its record, if it was just written; else 0.
        """
        if isinstance(run.state, Ended):
            return
        body = Hint(
            pipeline=run.pipeline,
            run_id=run.id,
            attempt=run.state.attempt,
            concurrent_max=self._concurrent_max,
            run=run if revision else None,
            revision=revision,
        )
        try:
            async with self._hinting:
                subject = subjects.work(run.order.kind)
                await self._bus.publish(subject, messages.HINT.encode(body), message_id=uuid.uuid4().hex)
        except BusError as error:
            log.warning("hint not sent", run=run.id, error=str(error))

    def _turn(self, cause: Cause) -> AbstractAsyncContextManager[object]:
        """One start of a chain at a time: all of them write its count, and would be in each other's way."""
        if cause.root_run_id is None:
            return nullcontext()
        return self._chains.setdefault(cause.root_run_id, asyncio.Lock())

    async def _create(
        self, name: PipelineName, trigger: Trigger, run_id: RunId, cause: Cause
    ) -> Stored | Skipped | None:
        """The new record, or why there is none. None: the run exists already."""
        try:
            admitted = await self._admit(name, trigger, run_id, cause)
            return admitted if isinstance(admitted, Skipped) else await self._store(admitted)
        except BadTrigger as error:
            return Skipped(status=error.status, reason=str(error))

    async def _store(self, admitted: Admitted) -> Stored | Skipped | None:
        """As ``_create``. Raises ``TooMuch``."""
        if await self._is_there_without_room(admitted.run.id):
            return None
        try:
            return await self._runs.create(admitted.run, admitted.given, limits=self._limits(admitted))
        except ChainFull as full:
            return Skipped(status=429, reason=too_many_runs(admitted.run.root_run_id, full.most))
        except Full as full:
            name = admitted.run.pipeline
            reason = f"max_instances: {full.most} run(s) of {name} are pending or running already."
            return Skipped(status=429, reason=reason)
        except TooLarge as error:
            advice = "give less with the trigger, or a reference to it"
            raise TooMuch(f"the run's variables and event cannot be stored ({error}); {advice}.") from error

    async def _is_there_without_room(self, run_id: RunId) -> bool:
        """Whether there is no room for new runs, and this one exists. Raises ``NoRoom`` if it does not."""
        try:
            await self._room.check()
        except NoRoom:
            if not await self._runs.exists(run_id):
                raise
            return True
        return False

    async def _admit(self, name: PipelineName, trigger: Trigger, run_id: RunId, cause: Cause) -> Admitted | Skipped:
        record = await self._pipelines.get(name)
        at = self._clock()
        if trigger.retry_of is None:
            return admit(name, record, trigger, run_id=run_id, cause=cause, defaults=self._defaults, now=at)
        try:
            former = (await self._runs.load(RunRef(name, trigger.retry_of))).run
            given = await self._runs.input(former)
        except NoSuchRun as error:
            return Skipped(status=404, reason=str(error))
        if former.is_refused:
            return Skipped(status=409, reason=f"run {former.id} never began; redrive its skip instead.")
        if not former.is_over:
            return Skipped(status=409, reason=f"run {former.id} is not over; cancel it first or wait for its end.")
        if trigger.code == "current":
            anew, cause = with_input_of(former, given, trigger), Cause(parent_run_id=former.id)
            return admit(name, record, anew, run_id=run_id, cause=cause, defaults=self._defaults, now=at)
        policy = self._defaults.policy
        return again(former, given, record, trigger, run_id=run_id, policy=policy, now=at)

    def _limits(self, admitted: Admitted) -> list[Limit]:
        name, order = admitted.run.pipeline, admitted.run.order
        limits: list[Limit] = []
        if admitted.instances_max is not None:
            instances = ConcurrencyLimit(
                key=instances_key(name),
                most=admitted.instances_max,
                since=admitted.instances_since,
                is_active=is_not_over,
                rebuild=lambda: self._active_runs_of(name),
            )
            limits.append(instances)
        # A retry is a person's decision, and a daemon restarts for ever: neither makes a chain longer.
        if order.triggered_by == "downstream":
            limits.append(ChainLimit(admitted.run.root_run_id, self._chain_runs_max))
        return limits

    async def _active_runs_of(self, name: PipelineName) -> tuple[Member, ...]:
        runs = await self._runs.all_of(name)
        return tuple(Member(pipeline=name, run_id=run.id) for run in runs if not run.is_over)

    def _skip(self, name: PipelineName, trigger: Trigger, run_id: RunId, cause: Cause, why: Skipped) -> SkipRecord:
        return SkipRecord(
            id=run_id,
            at=self._clock(),
            pipeline=name,
            reason=why.reason,
            triggered_by=trigger.triggered_by,
            run_config_id=trigger.run_config_id,
            parent_run_id=cause.parent_run_id,
            parent=cause.parent,
            root_run_id=cause.root_run_id,
            hops=cause.hops,
            schedule=cause.schedule,
            scheduled_for=cause.scheduled_for,
        )
