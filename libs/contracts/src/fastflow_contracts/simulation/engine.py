"""Runs from slot to end in simulated time, as the schedulers and the runners treat them. Pure.

The rules are those of the services: admission, ceilings, turns, the hint queue, the run state machine, followups. This
module only brings them together, with a clock that jumps to the next instant at which something happens. At one
instant attempts end first, then slots start runs, then what follows from the ends; runners take the runs in between.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from math import ceil
from typing import Final, NamedTuple, assert_never

from msgspec.structs import replace

from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.ids import RunId, run_id_for_child, run_id_for_slot
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.messages import Skipped, Trigger
from fastflow_contracts.runs.run import (
    REPLACED,
    RESTART,
    Ended,
    Pending,
    RunErrorType,
    RunInput,
    Running,
    RunRecord,
    Turn,
)
from fastflow_contracts.runs.state_machine import AttemptOutcome, Cancel, Claim, Command, Finish, Prepare, decide, fold
from fastflow_contracts.runs.triggers import BadTrigger
from fastflow_contracts.schedules.schedule import RESTART_ID
from fastflow_contracts.simulation.scenario import Scenario
from fastflow_contracts.simulation.tally import Often, Tally
from fastflow_contracts.starting import ceilings
from fastflow_contracts.starting.active_runs import ActiveRuns
from fastflow_contracts.starting.admission import Admitted, Cause, admit
from fastflow_contracts.starting.followups import Break, Follow, react, stops_for_restart
from fastflow_contracts.starting.hint_queue import HintQueue
from fastflow_contracts.starting.lanes import Free, Lane
from fastflow_contracts.starting.turns import turn

OnChange = Callable[[datetime, RunRecord], None]


class DueSlot(NamedTuple):
    """A schedule is due."""

    at: datetime
    job: JobRef
    run_config_id: str | None


SCHEDULES_OF_A_STEP: Final = 500
"""Schedules that take as long to look through as a start takes else."""
ATTEMPTS_OF_A_STEP: Final = 25
"""Former attempts of a run that make the next one as long as a step: its record holds all of them."""


class _End(NamedTuple):
    at: datetime
    number: int
    run_id: RunId
    epoch: int
    error: RunErrorType | None


class _OnePool(NamedTuple):
    """Every free slot takes work of every lane."""

    free: int

    def get(self, _lane: Lane, /) -> int:
        """As ``Free.get``."""
        return self.free


class Engine:
    """All runs of one scenario, from *begin* on. *on_change* gets every version of every run."""

    def __init__(self, scenario: Scenario, begin: datetime, *, on_change: OnChange | None = None) -> None:
        self.now = begin
        self.tally = Tally(begin)
        self.runs_created = 0
        self.steps = 0
        """Starts that were tried, and attempts that began. A start of a pipeline with many schedules counts as more,
        and so does an attempt after many others."""
        self._begin = begin
        self._scenario = scenario
        self._pipelines = {pipeline.name: pipeline for pipeline in scenario.pipelines}
        # Every start looks through the schedules of its pipeline.
        self._steps_of = {each.name: 1 + len(each.spec.schedules) // SCHEDULES_OF_A_STEP for each in scenario.pipelines}
        self._records = {pipeline.name: pipeline.record(begin) for pipeline in scenario.pipelines}
        self._on_change = on_change or (lambda _at, _run: None)
        self._revision = 0
        self._begin_idle()

    def _begin_idle(self) -> None:
        """Begin with no run: the order in which pipelines had their turns counts for nothing then."""
        self._queue = HintQueue(concurrent_max=self._scenario.concurrent_max)
        self._queue.is_following = True
        self._queue.hold(self._scenario.pauses)
        self._active = ActiveRuns()
        self._runs: dict[RunId, RunRecord] = {}
        """Those that are not over."""
        self._active_of: Counter[PipelineName] = Counter()
        self._taken: set[RunId] = set()
        """Those that hold a slot."""
        self._waiting: set[RunId] = set()
        """Those that are due and hold none."""
        self._later: list[tuple[datetime, RunId]] = []
        """When others are due."""
        self._outstanding: deque[tuple[RunId, int]] = deque()
        self._ends: list[_End] = []
        self._ended: deque[RunRecord] = deque()
        """Those whose followups are not started yet."""
        self._chains: Counter[RunId] = Counter()
        """How many runs each chain has had."""

    @property
    def is_idle(self) -> bool:
        """Whether no run waits or runs."""
        return not self._runs

    @property
    def unfinished(self) -> int:
        """How many runs are not over."""
        return len(self._runs)

    def skip_to(self, at: datetime) -> None:
        """Begin again at *at*, while nothing is active."""
        assert self.is_idle
        self.now = at
        self._begin_idle()

    def run_until(self, end: datetime, slots: Iterable[DueSlot], *, steps_max: int) -> None:
        """Let all happen that is due up to *end*, with *slots* in their order; none of them is later than *end*.

        Stops earlier, at ``now``, once there were *steps_max* steps: some daemons restart without end at one instant.
        """
        due = deque(slots)
        while self.steps < steps_max:
            instants = [self._next_due()]
            if self._ends:
                instants.append(self._ends[0].at)
            if due:
                instants.append(due[0].at)
            at = min((each for each in instants if each is not None), default=None)
            if at is None or at > end:
                self._pass_to(end)
                return
            self._pass_to(max(at, self.now))
            while self._ends and self._ends[0].at <= self.now:
                self._end(heapq.heappop(self._ends))
            self._settle()  # a free slot is taken at once; what follows from an end comes a moment later
            together = self.runs_created
            while due and due[0].at <= self.now and self.steps < steps_max:
                self._fire(due.popleft())
            together = self.runs_created - together
            if together > self.tally.together.times:
                self.tally.together = Often(together, self._at_s)
            self._settle()
            while self._ended:
                self._follow(self._ended.popleft())
                self._settle()

    @property
    def _at_s(self) -> float:
        return (self.now - self.tally.begin).total_seconds()

    @property
    def _monotonic(self) -> float:
        return (self.now - self._begin).total_seconds()

    def _next_due(self) -> datetime | None:
        wait_s = self._queue.next_due_s(now=self.now)
        return None if wait_s == float("inf") else self.now + timedelta(seconds=wait_s)

    def _pass_to(self, at: datetime) -> None:
        self.tally.busy_s += len(self._taken) * (at - self.now).total_seconds()
        self.now = at
        while self._later and self._later[0][0] <= at:
            run = self._runs.get(heapq.heappop(self._later)[1])
            if run is not None and isinstance(run.state, Pending) and run.state.not_before <= at:
                self._waiting.add(run.id)

    def _fire(self, slot: DueSlot) -> None:
        name, schedule = slot.job
        run_id = run_id_for_slot(name, schedule, slot.at)
        cause = Cause(schedule=schedule, scheduled_for=slot.at)
        if schedule != RESTART_ID:
            trigger = Trigger(triggered_by="schedule", run_config_id=slot.run_config_id)
            self._start(name, trigger, run_id, cause)
            return
        active = [self._runs[member.run_id] for member in self._active.of(name)]
        for run in active:
            if stops_for_restart(run, slot.at):
                self._stop(run, RESTART)
        if not active:
            self._start(name, Trigger(triggered_by="daemon_restart"), run_id, cause)

    def _start(self, name: PipelineName, trigger: Trigger, run_id: RunId, cause: Cause) -> None:
        self.steps += self._steps_of.get(name, 1)
        decided = self._decide(name, trigger, run_id, cause)
        if isinstance(decided, Skipped):
            self._refuse(name, decided.reason, cause.root_run_id)
            return
        if self._active_of[name]:
            self.tally.note(self.tally.overlaps, name, self._at_s)
        self.tally.starts[name] += 1
        self.runs_created += 1
        self._revision += 1
        self._keep(decided)
        if self._queue.add(decided, self._revision, self._free(), now=self.now, at=self._monotonic):
            self._outstanding.append((decided.id, 1))
        self._queue.see(decided, self._revision, at=self._monotonic)

    def _decide(self, name: PipelineName, trigger: Trigger, run_id: RunId, cause: Cause) -> RunRecord | Skipped:
        """The run that is created, or why there is none, in the order in which the starter looks."""
        record = self._records.get(name)
        try:
            admitted = admit(
                name, record, trigger, run_id=run_id, cause=cause, defaults=self._scenario.defaults, now=self.now
            )
        except BadTrigger as error:
            return Skipped(status=error.status, reason=str(error))
        if isinstance(admitted, Skipped):
            return admitted
        run = admitted.run
        run = replace(run, order=replace(run.order, turn=_turn_of(admitted)))
        limits = self._scenario.ceilings
        if (refusal := limits.refusal(run, self._active)) is not None:
            return refusal
        most = admitted.instances_max
        if most is not None and self._active_of[name] >= most:
            return Skipped(status=429, reason=ceilings.too_many_instances(name, most))
        shared = run.order.turn
        if shared and shared.on_limit == "reject" and len(self._active.sharing_turn(run)) >= shared.limit:
            return Skipped(status=429, reason=ceilings.too_many_sharing(name, shared))
        if trigger.triggered_by == "downstream":
            root = run.root_run_id
            if self._chains[root] + 1 >= limits.chain_runs:  # the first run counts
                return Skipped(status=429, reason=ceilings.too_many_runs(root, limits.chain_runs))
            self._chains[root] += 1
        return run

    def _refuse(self, name: PipelineName, reason: str, root: RunId | None) -> None:
        """Reasons that differ only in the run that a chain began with are one reason."""
        self.tally.refuse(name, reason.replace(f"with run {root} ", "") if root else reason, self._at_s)

    def _keep(self, run: RunRecord) -> None:
        self._active.see(run, self._revision)
        self._taken.discard(run.id)
        self._waiting.discard(run.id)
        is_new = run.id not in self._runs
        self._runs[run.id] = run
        match run.state:
            case Pending(not_before=not_before) if not_before > self.now:
                heapq.heappush(self._later, (not_before, run.id))
            case Pending():
                self._waiting.add(run.id)
            case Running():
                self._taken.add(run.id)
            case Ended():
                del self._runs[run.id]
        self._active_of[run.pipeline] += is_new - run.is_over
        self._on_change(self.now, run)

    def _change(self, run: RunRecord, command: Command) -> RunRecord:
        changed = fold(run, decide(run, command, now=self.now))
        if changed is not run:
            self._revision += 1
            self._keep(changed)
            self._queue.see(changed, self._revision, at=self._monotonic)
            if changed.is_over:
                self._ended.append(changed)
        return changed

    def _follow(self, run: RunRecord) -> None:
        made = self._pipelines[run.pipeline].links if run.pipeline in self._pipelines else ()
        record = self._records.get(run.pipeline)
        for step in react(run, record, made, RunInput(), depth_max=self._scenario.depth_max):
            match step:
                case Follow(pipeline=name, trigger=trigger, cause=cause):
                    self._start(name, trigger, run_id_for_child(run.id, step.edge), cause)
                case Break():
                    self._refuse(step.pipeline, step.reason, run.root_run_id)
                case _:
                    assert_never(step)

    def _stop(self, run: RunRecord, reason: str) -> None:
        """Cancel a run. Its script ends at once."""
        stopping = self._change(run, Cancel(reason=reason))
        if isinstance(stopping.state, Running):
            outcome = AttemptOutcome(finished_at=self.now, stopped=True)
            self._change(stopping, Finish(epoch=stopping.state.epoch, outcome=outcome))

    def _end(self, end: _End) -> None:
        run = self._runs.get(end.run_id)
        if run is None or not isinstance(run.state, Running) or run.state.epoch != end.epoch:
            return
        if end.error is not None:
            self.tally.failed[run.pipeline] += 1
        outcome = AttemptOutcome(finished_at=self.now, started_at=run.state.claimed_at, error_type=end.error)
        self._change(run, Finish(epoch=end.epoch, outcome=outcome))

    def _free(self) -> Free:
        return _OnePool(max(0, self._scenario.slots - len(self._taken)))

    def _settle(self) -> None:
        """Do what schedulers and runners do until nothing more happens at this instant."""
        before = -1
        while before != self._revision:
            before = self._revision
            for run in self._queue.replaced():
                self.tally.replaced[run.pipeline] += 1
                self._stop(run, REPLACED)
            free, at = self._free(), self._monotonic
            if self._queue.wants_look(free, now=self.now, at=at):
                self._outstanding += (
                    (hint.run.id, hint.run.state.attempt)
                    for hint in self._queue.due(free, now=self.now, at=at)
                    if isinstance(hint.run.state, Pending)
                )
            while self._outstanding and len(self._taken) < self._scenario.slots:
                self._take(*self._outstanding.popleft())
        self.tally.busy_max = max(self.tally.busy_max, len(self._taken))
        self.tally.waiting_max = max(self.tally.waiting_max, len(self._waiting))

    def _take(self, run_id: RunId, attempt: int) -> None:
        """A runner takes a hint."""
        run = self._runs.get(run_id)
        if run is None or not isinstance(run.state, Pending) or run.state.attempt != attempt:
            return
        self.steps += 1 + len(run.attempts) // ATTEMPTS_OF_A_STEP
        due = run.state.not_before
        claimed = self._change(run, Claim(attempt=attempt, runner="simulated"))
        assert isinstance(claimed.state, Running)
        prepared = self._change(claimed, Prepare(epoch=claimed.state.epoch))
        self.tally.waits[run.pipeline][ceil(max(0.0, (self.now - due).total_seconds()))] += 1
        duration_s, error = self._fate(prepared)
        end = _End(self.now + timedelta(seconds=duration_s), self._revision, run_id, claimed.state.epoch, error)
        heapq.heappush(self._ends, end)

    def _fate(self, run: RunRecord) -> tuple[float, RunErrorType | None]:
        measured = self._pipelines[run.pipeline].duration_s
        duration_s = self._scenario.assumed_s if measured is None else measured
        timeout_s = run.order.limits.timeout_s
        return (timeout_s, RunErrorType.TIMEOUT) if timeout_s and duration_s > timeout_s else (duration_s, None)


def _turn_of(admitted: Admitted) -> Turn | None:
    """The turn of the run. A key is not evaluated: runs of one configuration have the same one."""
    config = admitted.config
    if config is None or config.concurrency is None:
        return None
    scope = config.run_config_id if config.has_own_concurrency else None
    value = None if config.concurrency.key is None else config.run_config_id or ""
    return turn(config.concurrency, scope, value)
