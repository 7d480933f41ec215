"""Starts runs: the only place in the scheduler that creates them. I/O; the rules are in ``admission``.

The run's id comes from the request's identity. So a repeated request, from another scheduler or after a crash between
any two steps, changes nothing. A refused start leaves a skip that users can see.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from weakref import WeakValueDictionary

from msgspec.structs import replace

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import TooLarge
from fastflow_contracts.bus.subjects import RunRef, instances_key, starts_key
from fastflow_contracts.clock import now as wall_clock
from fastflow_contracts.ids import RunId
from fastflow_contracts.log import get_logger
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.expressions.evaluator import ExpressionEvaluator, ExpressionFailed
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.pipelines.versions import not_kept
from fastflow_contracts.runs.concurrency import (
    ChainFull,
    ChainLimit,
    ConcurrencyLimit,
    Full,
    Limit,
    is_not_over,
    shares_turn,
)
from fastflow_contracts.runs.limits import Member
from fastflow_contracts.runs.messages import Decision, EventPlace, Skipped, SkipRecord, Started, Trigger
from fastflow_contracts.runs.room import NoRoom, Room
from fastflow_contracts.runs.run import RUN_INPUT, RunInput, RunRecord
from fastflow_contracts.runs.skips import Letter, SkipStore, copied
from fastflow_contracts.runs.store import NoSuchRun, RunStore, Stored
from fastflow_contracts.runs.triggers import BadTrigger
from fastflow_contracts.starting.active_runs import ActiveRuns
from fastflow_contracts.starting.admission import (
    Admitted,
    Cause,
    Defaults,
    TooMuch,
    admit,
    again,
    refused,
    still_values_only,
    with_input_of,
)
from fastflow_contracts.starting.ceilings import (
    CEILINGS,
    Ceilings,
    too_many_instances,
    too_many_runs,
    too_many_sharing,
)
from fastflow_contracts.starting.turns import turn_of
from fastflow_scheduler.starting.dispatcher import Dispatcher
from fastflow_scheduler.starting.edits import edited

log = get_logger(__name__)

NO_CAUSE = Cause()
CREATING_MAX = 2_000
"""Runs to create at once; the others wait their turn. Fewer would share their requests with fewer (``together``)."""
LARGE_MAX = 256
"""Those that hold more meanwhile: the pipeline's record while they are admitted, then a large input."""
LARGE_BYTES = 8 * 1024
"""From here on an input is large."""
CREATING_OF_PIPELINE_MAX = 128
"""Those of one pipeline. By as many a scheduler may exceed its ceiling: it counts a run once that is stored."""


class Starter:
    """Creates runs. Whoever begins them learns of it through the ``Dispatcher``."""

    def __init__(
        self,
        bus: Bus,
        runs: RunStore,
        defaults: Defaults,
        *,
        active: ActiveRuns | None = None,
        dispatcher: Dispatcher | None = None,
        ceilings: Ceilings = CEILINGS,
        room: Room | None = None,
        evaluator: ExpressionEvaluator | None = None,
        clock: Callable[[], datetime] = wall_clock,
    ) -> None:
        """Starts nothing by itself.

        Args:
            bus: The bus.
            runs: The runs on it.
            defaults: Values for what pipelines do not set.
            active: The runs that are not over, as the feed brings them. None: no pipeline has ``max_instances``.
            dispatcher: Hints the runs. None: each one at once.
            ceilings: How many runs of one pipeline and of one chain there may be.
            room: What is free on the bus for new runs.
            evaluator: Evaluates the keys of limits; the caller closes it.
            clock: Tells the time.
        """
        self._bus = bus
        self._runs = runs
        self._pipelines = PipelineStore(bus)
        self._skips = SkipStore(bus)
        self._defaults = defaults
        self._active = active or ActiveRuns()
        self._dispatcher = dispatcher or Dispatcher(bus, clock=clock)
        self._ceilings = ceilings
        self._room = room or Room(bus)
        self._evaluator = evaluator or ExpressionEvaluator()
        self._clock = clock
        self._creating = asyncio.Semaphore(CREATING_MAX)
        self._creating_large = asyncio.Semaphore(LARGE_MAX)
        self._creating_of: WeakValueDictionary[PipelineName, asyncio.Semaphore] = WeakValueDictionary()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """By the keys of limits."""

    async def start(
        self,
        name: PipelineName,
        trigger: Trigger,
        run_id: RunId,
        *,
        cause: Cause = NO_CAUSE,
        letter: Letter | None = None,
        event_at: EventPlace | None = None,
        is_kept: bool = False,
    ) -> Decision:
        """Create run *run_id* of *name*, unless it exists already, and hint it. A refusal leaves a skip.

        Args:
            name: The pipeline.
            trigger: What to start it with.
            run_id: The id of the new run.
            cause: What caused the run, beyond the trigger.
            letter: The message that asks for it, for the skip; None: there is none.
            event_at: Where the message is, if a stream of another program has it.
            is_kept: A skip keeps the message already.

        Raises:
            NoRoom: There is no room for new runs now: try again later.
            BusError: The bus does not answer or refuses.
            Unreadable: The pipeline's record cannot be read.
        """
        created = await self._create(name, trigger, run_id, cause)
        if isinstance(created, Stored):
            log.info("run created", run=run_id, pipeline=name, triggered_by=trigger.triggered_by)
            await self._dispatcher.created(created)
        # A repeated request may find its pipeline changed meanwhile: a run that it started stays started.
        if not isinstance(created, Skipped) or await self._runs.exists(run_id):
            return Started(run_id=run_id)
        await self.refuse(
            name, trigger, run_id, created, cause=cause, letter=letter, event_at=event_at, is_kept=is_kept
        )
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
        event_at: EventPlace | None = None,
        is_kept: bool = False,
    ) -> None:
        """Keep a start that is refused, and record it as a run that is over if its caller has the run's id already.

        The arguments are those of ``start``, and the reason. Safe to repeat. Raises ``BusError``.
        """
        if not is_kept:  # first: a run without its skip would have lost its message
            skip = replace(self._skip(name, trigger, run_id, cause, why), by_service=letter is None, event_at=event_at)
            await self._skips.keep(skip, letter or copied(trigger, event_at))
        if trigger.accepted:
            run = refused(name, trigger, why, run_id=run_id, cause=cause, now=self._clock())
            if not await self._is_there_without_room(run_id):
                await self._runs.create(run, None)
        log.info("start refused", run=run_id, pipeline=name, reason=why.reason, accepted=trigger.accepted)

    @asynccontextmanager
    async def _turns(self, limits: Sequence[Limit]) -> AsyncIterator[None]:
        """One start under a limit at a time: all of them write its record, and would be in each other's way."""
        async with AsyncExitStack() as stack:
            for limit in limits:
                await stack.enter_async_context(self._locks.setdefault(limit.key, asyncio.Lock()))
            yield

    def _places(self, given: RunInput | None) -> asyncio.Semaphore:
        is_large = given is not None and len(RUN_INPUT.encode(given)) >= LARGE_BYTES
        return self._creating_large if is_large else self._creating

    async def _create(
        self, name: PipelineName, trigger: Trigger, run_id: RunId, cause: Cause
    ) -> Stored | Skipped | None:
        """The new record, or why there is none. None: the run exists already."""
        try:
            async with self._creating_large:
                admitted = await self._admit(name, trigger, run_id, cause)
                if isinstance(admitted, Skipped):
                    return admitted
                admitted = await self._with_turn(admitted)
            order = replace(admitted.run.order, operation_id=cause.operation_id)  # never that of the run it repeats
            admitted = replace(admitted, run=replace(admitted.run, order=order), config=None, trigger=None)
            limits = self._limits(admitted)
            of_pipeline = self._creating_of.setdefault(name, asyncio.Semaphore(CREATING_OF_PIPELINE_MAX))
            async with self._turns(limits), of_pipeline, self._places(admitted.given):
                return self._ceilings.refusal(admitted.run, self._active) or await self._store(admitted, limits)
        except BadTrigger as error:
            return Skipped(status=error.status, reason=str(error))
        except ExpressionFailed as error:
            return Skipped(status=422, reason=f"concurrency.key: {error}")

    async def _with_turn(self, admitted: Admitted) -> Admitted:
        """Raises ``ExpressionFailed``."""
        if admitted.config is None or admitted.trigger is None:
            return admitted
        turn = await turn_of(admitted.run.pipeline, admitted.config, admitted.trigger, self._evaluator)
        return replace(admitted, run=replace(admitted.run, order=replace(admitted.run.order, turn=turn)))

    async def _store(self, admitted: Admitted, limits: Sequence[Limit]) -> Stored | Skipped | None:
        """As ``_create``. Raises ``TooMuch``."""
        if await self._is_there_without_room(admitted.run.id):
            return None
        try:
            created = await self._runs.create(admitted.run, admitted.given, limits=limits)
        except ChainFull as full:
            return Skipped(status=429, reason=too_many_runs(admitted.run.root_run_id, full.most))
        except Full as full:
            name = admitted.run.pipeline
            if (turn := admitted.run.order.turn) and full.key == starts_key(name, turn.token):
                return Skipped(status=429, reason=too_many_sharing(name, turn))
            return Skipped(status=429, reason=too_many_instances(name, full.most))
        except TooLarge as error:
            advice = "give less with the trigger, or a reference to it"
            raise TooMuch(f"the run's variables and event cannot be stored ({error}); {advice}.") from error
        if created is not None:
            self._active.add(*created)
        return created

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
            chosen = None
            if trigger.version is not None:
                kept = await self._pipelines.version(name, trigger.version)
                if kept is None:
                    return Skipped(status=404, reason=not_kept(name, trigger.version))
                chosen = kept.version
            return admit(
                name, record, trigger, run_id=run_id, cause=cause, defaults=self._defaults, now=at, chosen=chosen
            )
        try:
            former = (await self._runs.load(RunRef(name, trigger.retry_of))).run
            given = await self._runs.input(former)
        except NoSuchRun as error:
            return Skipped(status=404, reason=str(error))
        if former.is_refused:
            return Skipped(status=409, reason=f"run {former.id} never began; redrive its skip instead.")
        if not former.is_over:
            return Skipped(status=409, reason=f"run {former.id} is not over; cancel it first or wait for its end.")
        former, given = edited(former, given, trigger)
        if trigger.code == "current":
            anew, cause = with_input_of(former, given, trigger), Cause(parent_run_id=former.id)
            admitted = admit(name, record, anew, run_id=run_id, cause=cause, defaults=self._defaults, now=at)
            return still_values_only(admitted, given) if former.order.by_operator else admitted
        kept = await self._pipelines.version(name, former.order.bundle) if trigger.changes else None
        policy, own = self._defaults.policy, kept.version if kept else None
        return again(former, given, record, trigger, run_id=run_id, policy=policy, now=at, own=own)

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
        if order.turn is not None and order.turn.on_limit == "reject":
            run = admitted.run
            starts = ConcurrencyLimit(
                key=starts_key(name, order.turn.token),
                most=order.turn.limit,
                since=admitted.instances_since,
                is_active=lambda other: is_not_over(other) and shares_turn(run, other),
                rebuild=lambda: self._active_runs_of(name, sharing=run),
            )
            limits.append(starts)
        # A retry is a person's decision, and a daemon restarts for ever: neither makes a chain longer.
        if order.triggered_by == "downstream":
            limits.append(ChainLimit(admitted.run.root_run_id, self._ceilings.chain_runs))
        return limits

    async def _active_runs_of(self, name: PipelineName, *, sharing: RunRecord | None = None) -> tuple[Member, ...]:
        """The active runs, none of those missing that are there now: not by reading all that ever were."""
        await self._active.up_to(await self._runs.newest_revision_of(name))
        return self._active.of(name) if sharing is None else self._active.sharing_turn(sharing)

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
