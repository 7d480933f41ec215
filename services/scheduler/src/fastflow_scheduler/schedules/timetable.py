"""Decides which schedules are due: all schedules with their stored states, ordered by their next slots.

Pure: records and time in, actions out. Times are aware UTC.

A schedule fires only while its stored state matches its definition. When the schedule is new, changed, switched or
gone, the state is settled first. Each schedule has at most one action in progress; the caller reports the end of an
action with ``done``.

This stays cheap for many schedules: a heap holds instants, one valid instant per schedule. ``arm`` computes the next
slot of a schedule after the one before is done, a limited number at a time.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple, TypeAlias

from msgspec.structs import replace

from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.pauses import NOT_PAUSED, PauseSet
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.schedules.schedule import PipelineSchedule
from fastflow_contracts.schedules.slots import fault, next_slot
from fastflow_contracts.schedules.state import REMEMBERED, ScheduleState, settled
from fastflow_scheduler.schedules.backlog import Backlog, backlog

AWAY = timedelta(seconds=10)
"""A scheduler that was not ``able`` for this long had a break: no bus, a sleeping host, or a clock that jumped."""
AHEAD = timedelta(minutes=10)
"""If the clock is set back by less, nothing fires until it catches up; by more, its schedules start again."""
PATIENCE = timedelta(seconds=2)
"""How long a slot that seems missed is left to the other schedulers, which may be running it or have done so."""
LEFT = timedelta(seconds=10)
"""How long a due action is left to the scheduler that it belongs to, while that one lives."""
LEFT_LOOK = timedelta(seconds=1)
"""How often to look whether that scheduler still lives."""


@dataclass(frozen=True)
class Settle:
    """Make the stored state match the definition."""

    job: JobRef


@dataclass(frozen=True)
class Fire:
    """Run these slots of the schedule."""

    job: JobRef
    schedule: PipelineSchedule
    backlog: Backlog


Action: TypeAlias = Settle | Fire


class Advance(NamedTuple):
    """A state to write, and the revision it replaces."""

    state: ScheduleState
    revision: int


@dataclass
class _Entry:
    schedule: PipelineSchedule | None = None
    is_on: bool = True
    state: ScheduleState | None = None
    revision: int = 0
    done_until: datetime | None = None
    """As stored, or later: work done here counts before it is stored."""
    is_ahead: bool = False
    """A clock that has since been set back stored its state, so ``done_until`` lies in the future."""
    is_busy: bool = False
    not_before: datetime | None = None
    wake_at: datetime | None = None
    due_at: datetime | None = None
    """When its next action is due; ``wake_at`` is later while that is left to another scheduler."""
    seems_missed: bool = False
    """Its next slot was due before this scheduler was able to run it. Another one may still run it."""

    def settled(self, now: datetime) -> ScheduleState | None:
        """The state that must be stored; None if it is stored already."""
        if self.state is None and self.schedule is None:
            return None
        wanted = settled(self.state, self.schedule, is_on=self.is_on, now=now)
        if self.is_ahead:
            wanted = replace(wanted, done_until=min(wanted.done_until, now))
        return None if wanted is self.state else wanted


@dataclass
class Timetable:
    """All schedules, including those of ``restart_interval``.

    *is_own*: whether this scheduler carries out the actions of a schedule; the others leave it to this one for a while.
    *is_alone*: whether no other scheduler lives. Others may have left a slot that seems missed to one that has ended.
    """

    is_own: Callable[[JobRef], bool] = lambda _: True
    is_alone: Callable[[], bool] = lambda: True
    _able_since: datetime | None = None
    _able_at: datetime | None = None
    _pauses: PauseSet = NOT_PAUSED
    _resumed_at: dict[PipelineName, datetime] = field(default_factory=dict)
    """When the last pause of a pipeline ended: its slots until then are missed."""
    _entries: dict[JobRef, _Entry] = field(default_factory=lambda: defaultdict(_Entry))
    _jobs_of: dict[PipelineName, set[JobRef]] = field(default_factory=lambda: defaultdict(set))
    _touched: dict[JobRef, None] = field(default_factory=dict)
    _heap: list[tuple[datetime, JobRef]] = field(default_factory=list)

    def see_pipeline(self, record: PipelineRecord) -> None:
        """Take in the current schedules of a pipeline."""
        wanted = {JobRef(record.name, schedule.id): schedule for schedule in _schedules(record)}
        for job in sorted(self._jobs_of[record.name] | wanted.keys()):
            entry = self._entries[job]
            if entry.schedule != wanted.get(job):
                entry.schedule = wanted.get(job)
                self._touched[job] = None
        self._jobs_of[record.name] = set(wanted)

    def see_state(self, job: JobRef, state: ScheduleState | None, revision: int, *, is_read: bool = False) -> None:
        """Take in the state stored at *revision*. Ignores a revision that is not new, unless it *is_read* just now."""
        entry = self._entries[job]
        if revision <= entry.revision and not is_read:
            return
        goes_on = (
            state is not None
            and entry.state is not None
            and (state.definition, state.idle_since) == (entry.state.definition, entry.state.idle_since)
        )
        if state is None:
            entry.done_until = None
        elif goes_on and entry.done_until is not None:
            entry.done_until = max(entry.done_until, state.done_until)
        else:
            entry.done_until = state.done_until
        entry.state, entry.revision, entry.is_ahead = state, revision, False
        self._touched[job] = None

    def see_switch(self, job: JobRef, *, is_on: bool) -> None:
        """Take in that users switched the schedule on or off."""
        self._entries[job].is_on = is_on
        self._touched[job] = None

    def see_pauses(self, pauses: PauseSet, now: datetime) -> None:
        """Take in what is paused. A paused schedule does not fire; what was due meanwhile is missed, as in downtime."""
        former, self._pauses = self._pauses, pauses
        for name, jobs in self._jobs_of.items():
            was_paused, is_paused = (each.of(name) is not None for each in (former, pauses))
            if was_paused and not is_paused:
                self._resumed_at[name] = now
            if was_paused != is_paused:
                self._touched.update(dict.fromkeys(jobs))

    def able(self, now: datetime) -> None:
        """Take in that this scheduler can start runs at *now*. Call it about every second while that holds."""
        if self._able_at is None or not timedelta(0) <= now - self._able_at <= AWAY:
            if self._able_at is not None and now < self._able_at - AHEAD:
                self._set_back(now)
            self._able_since = now
            self._touched.update(dict.fromkeys(self._entries))
        self._able_at = now

    def _set_back(self, now: datetime) -> None:
        """Correct for a clock that was ahead. Slots marked as done are still due; slots that ran do not run again."""
        for entry in self._entries.values():
            entry.not_before = None
            if entry.state is not None and entry.done_until is not None and entry.done_until > now + AHEAD:
                entry.is_ahead, entry.done_until = True, None

    def arm(self, now: datetime, *, most: int) -> bool:
        """Compute the next instants of at most *most* changed schedules. Returns whether more of them remain."""
        for job in list(islice(self._touched, most)):
            del self._touched[job]
            entry = self._entries[job]
            entry.wake_at = entry.due_at = self._wake_at(job, entry, now)
            if entry.wake_at is not None:
                heapq.heappush(self._heap, (entry.wake_at, job))
            elif entry.schedule is None and entry.state is None and entry.is_on and not entry.revision:
                # An entry with a revision was removed; the next write there must expect that revision.
                del self._entries[job]
        return bool(self._touched)

    def actions(self, now: datetime, *, most: int | None = None) -> list[Action]:
        """At most *most* due actions of armed schedules. Each is in progress until ``done``."""
        found: list[Action] = []
        while self._heap and self._heap[0][0] <= now and len(found) != most:
            wake_at, job = heapq.heappop(self._heap)
            entry = self._entries.get(job)
            if entry is None or entry.wake_at != wake_at or entry.is_busy:
                continue
            assert entry.due_at is not None
            if now < entry.due_at + LEFT and self._is_left(job, entry):
                entry.wake_at = now + LEFT_LOOK
                heapq.heappush(self._heap, (entry.wake_at, job))
                continue
            action = self._action(job, entry, now)
            if action is None:
                self._touched[job] = None
            else:
                entry.wake_at, entry.is_busy = None, True
                found.append(action)
        return found

    def _is_left(self, job: JobRef, entry: _Entry) -> bool:
        """Whether a due action is left to the other schedulers for now."""
        return not self.is_own(job) or (entry.seems_missed and not self.is_alone())

    def done(self, job: JobRef, *, not_before: datetime | None = None) -> None:
        """Take in that the action of *job* is over. *not_before*: it failed, and the next try comes then."""
        entry = self._entries[job]
        entry.is_busy, entry.not_before = False, not_before
        self._touched[job] = None

    def next_instant(self) -> datetime | None:
        """When the next action of an armed schedule is due; None if there is none."""
        return self._heap[0][0] if self._heap else None

    def revision(self, job: JobRef) -> int:
        """The revision of the known state; 0 if there is none."""
        return self._entries[job].revision

    def settlement(self, job: JobRef, now: datetime) -> ScheduleState | None:
        """The state that must be stored; None if it is stored already."""
        return self._entries[job].settled(now)

    def fire(self, job: JobRef, now: datetime) -> Fire | None:
        """The slots to run at *now*, from the current knowledge; None if there are none."""
        action = self._action(job, self._entries[job], now)
        return action if isinstance(action, Fire) else None

    def stands(self, fire: Fire, slot: datetime) -> bool:
        """Whether *slot* must still run: no scheduler was faster, and the schedule is unchanged."""
        entry = self._entries[fire.job]
        if entry.schedule != fire.schedule or entry.state is None or entry.settled(slot) is not None:
            return False
        return entry.state.idle_since is None and entry.done_until is not None and entry.done_until < slot

    def advanced(self, fire: Fire, until: datetime, slot: datetime | None) -> Advance | None:
        """The state to store once *slot* and everything up to *until* are done; None if it is stored already."""
        entry = self._entries[fire.job]
        if entry.state is None or entry.schedule != fire.schedule or entry.settled(until) is not None:
            return None
        assert entry.done_until is not None
        entry.done_until = max(entry.done_until, until)
        if entry.state.done_until >= until:
            return None
        state = replace(entry.state, done_until=until, last_slot=slot or entry.state.last_slot)
        return Advance(state, entry.revision)

    def forgettable(self, now: datetime) -> list[tuple[JobRef, int]]:
        """States of schedules that are long gone, with their revisions."""
        return [
            (job, entry.revision)
            for job, entry in self._entries.items()
            if entry.schedule is None
            and entry.state is not None
            and entry.state.idle_since is not None
            and entry.state.idle_since < now - REMEMBERED
        ]

    def _wake_at(self, job: JobRef, entry: _Entry, now: datetime) -> datetime | None:
        entry.seems_missed = False
        if entry.is_busy or self._able_since is None:
            return None
        if entry.settled(now) is not None:
            wake_at = now
        elif (
            entry.schedule is None or entry.state is None or entry.state.idle_since is not None or self._is_paused(job)
        ):
            return None
        else:
            assert entry.done_until is not None
            slot = next_slot(entry.schedule, entry.done_until, entry.state.anchor)
            if slot is None:
                return None
            entry.seems_missed = slot <= self._able_since
            wake_at = self._able_since + PATIENCE if entry.seems_missed else slot
        return max(wake_at, entry.not_before) if entry.not_before else wake_at

    def _is_paused(self, job: JobRef) -> bool:
        return self._pauses.of(job.pipeline) is not None

    def _action(self, job: JobRef, entry: _Entry, now: datetime) -> Action | None:
        if entry.settled(now) is not None:
            return Settle(job)
        if entry.schedule is None or entry.state is None or entry.state.idle_since is not None:
            return None
        if self._is_paused(job):
            return None
        assert entry.done_until is not None
        assert self._able_since is not None
        due = backlog(
            entry.schedule,
            anchor=entry.state.anchor,
            done_until=entry.done_until,
            able_since=max(self._able_since, self._resumed_at.get(job.pipeline, self._able_since)),
            now=now,
        )
        return None if due is None else Fire(job, entry.schedule, due)


def _schedules(record: PipelineRecord) -> tuple[PipelineSchedule, ...]:
    """The schedules that can be computed: a record may hold ones that no sync would accept."""
    return tuple(schedule for schedule in _listed(record) if fault(schedule) is None)


def unusable(record: PipelineRecord) -> list[tuple[PipelineSchedule, str]]:
    """Schedules of *record* whose slots cannot be computed, each with the reason. These never fire."""
    return [(schedule, why) for schedule in _listed(record) if (why := fault(schedule)) is not None]


def _listed(record: PipelineRecord) -> tuple[PipelineSchedule, ...]:
    if record.removed_at is not None or record.live is None:
        return ()
    restart = record.live.spec.restart_schedule()
    return (*record.live.spec.schedule_list(), *((restart,) if restart else ()))
