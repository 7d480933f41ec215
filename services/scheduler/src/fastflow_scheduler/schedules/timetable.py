"""When what is due: the schedules of all pipelines with their stored states, in the order of their next slots. Pure:
records and time in, actions out.

A schedule fires only while its stored state fits its definition. Where it does not, because the schedule is new,
changed, switched, or gone, the state is settled first. One action of a schedule is under way at a time; whoever does
it says ``done`` at the end.

Cheap for many: a heap of instants, of which each schedule has one that counts. A slot is computed when the one before
it is dealt with, and ``arm`` does that in portions. Times are aware UTC.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple, TypeAlias

from msgspec.structs import replace

from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.schedules.schedule import Schedule
from fastflow_contracts.schedules.slots import fault, next_slot
from fastflow_contracts.schedules.state import REMEMBERED, ScheduleState, settled
from fastflow_scheduler.schedules.backlog import Backlog, backlog

AWAY = timedelta(seconds=10)
"""A scheduler that was not ``able`` for this long had a break: the bus was gone, the host slept, its clock jumped."""
AHEAD = timedelta(minutes=10)
"""A clock that is set back by less stays silent until it is there again; after more its schedules begin anew."""
PATIENCE = timedelta(seconds=2)
"""What seems missed is left to the other schedulers for this long: they may be at it, or have done it."""


@dataclass(frozen=True)
class Settle:
    """Make the stored state fit the definition."""

    job: JobRef


@dataclass(frozen=True)
class Fire:
    """Run these slots of the schedule."""

    job: JobRef
    schedule: Schedule
    backlog: Backlog


Action: TypeAlias = Settle | Fire


class Advance(NamedTuple):
    """A state to be written, and the revision it replaces."""

    state: ScheduleState
    revision: int


@dataclass
class _Entry:
    schedule: Schedule | None = None
    is_on: bool = True
    state: ScheduleState | None = None
    revision: int = 0
    done_until: datetime | None = None
    """As stored, or later: what was done here counts before it is stored."""
    is_ahead: bool = False
    """Its state was stored by a clock that has been set back since: it is dealt with until later than now."""
    is_busy: bool = False
    not_before: datetime | None = None
    wake_at: datetime | None = None

    def settled(self, now: datetime) -> ScheduleState | None:
        """The state as it is to be; None if it is so already."""
        if self.state is None and self.schedule is None:
            return None
        wanted = settled(self.state, self.schedule, is_on=self.is_on, now=now)
        if self.is_ahead:
            wanted = replace(wanted, done_until=min(wanted.done_until, now))
        return None if wanted is self.state else wanted


@dataclass
class Timetable:
    """All schedules, those of ``restart_interval`` among them."""

    _able_since: datetime | None = None
    _able_at: datetime | None = None
    _entries: dict[JobRef, _Entry] = field(default_factory=lambda: defaultdict(_Entry))
    _jobs_of: dict[PipelineName, set[JobRef]] = field(default_factory=lambda: defaultdict(set))
    _touched: dict[JobRef, None] = field(default_factory=dict)
    _heap: list[tuple[datetime, JobRef]] = field(default_factory=list)

    def see_pipeline(self, record: PipelineRecord) -> None:
        """What a pipeline's schedules are from now on."""
        wanted = {JobRef(record.name, schedule.id): schedule for schedule in _schedules(record)}
        for job in sorted(self._jobs_of[record.name] | wanted.keys()):
            entry = self._entries[job]
            if entry.schedule != wanted.get(job):
                entry.schedule = wanted.get(job)
                self._touched[job] = None
        self._jobs_of[record.name] = set(wanted)

    def see_state(self, job: JobRef, state: ScheduleState | None, revision: int, *, is_read: bool = False) -> None:
        """What is stored under *revision*. An older one than is known is ignored, unless it *is_read* just now."""
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
        """What people want."""
        self._entries[job].is_on = is_on
        self._touched[job] = None

    def able(self, now: datetime) -> None:
        """We could start runs at *now*. To be said at the beginning and every second or so, as long as it holds."""
        if self._able_at is None or not timedelta(0) <= now - self._able_at <= AWAY:
            if self._able_at is not None and now < self._able_at - AHEAD:
                self._set_back(now)
            self._able_since = now
            self._touched.update(dict.fromkeys(self._entries))
        self._able_at = now

    def _set_back(self, now: datetime) -> None:
        """The clock was ahead. What it called dealt with is still to come; a slot that was run is not run again."""
        for entry in self._entries.values():
            entry.not_before = None
            if entry.state is not None and entry.done_until is not None and entry.done_until > now + AHEAD:
                entry.is_ahead, entry.done_until = True, None

    def arm(self, now: datetime, *, most: int) -> bool:
        """Find the next instants of *most* schedules that changed; whether there are more of them."""
        for job in list(islice(self._touched, most)):
            del self._touched[job]
            entry = self._entries[job]
            entry.wake_at = self._wake_at(entry, now)
            if entry.wake_at is not None:
                heapq.heappush(self._heap, (entry.wake_at, job))
            elif entry.schedule is None and entry.state is None and entry.is_on and not entry.revision:
                # One with a revision was removed; what is stored there next must expect that.
                del self._entries[job]
        return bool(self._touched)

    def actions(self, now: datetime) -> list[Action]:
        """What is due, of schedules that are armed. Each is under way until it is ``done``."""
        found: list[Action] = []
        while self._heap and self._heap[0][0] <= now:
            wake_at, job = heapq.heappop(self._heap)
            entry = self._entries.get(job)
            if entry is None or entry.wake_at != wake_at or entry.is_busy:
                continue
            action = self._action(job, entry, now)
            if action is None:
                self._touched[job] = None
            else:
                entry.wake_at, entry.is_busy = None, True
                found.append(action)
        return found

    def done(self, job: JobRef, *, not_before: datetime | None = None) -> None:
        """Its action is over. *not_before*: it failed and is to be tried again then."""
        entry = self._entries[job]
        entry.is_busy, entry.not_before = False, not_before
        self._touched[job] = None

    def next_instant(self) -> datetime | None:
        """When ``actions`` will have something, as far as schedules are armed."""
        return self._heap[0][0] if self._heap else None

    def revision(self, job: JobRef) -> int:
        """Of the state that is known; 0 if there is none."""
        return self._entries[job].revision

    def settlement(self, job: JobRef, now: datetime) -> ScheduleState | None:
        """The state as it is to be, None if it is so already."""
        return self._entries[job].settled(now)

    def fire(self, job: JobRef, now: datetime) -> Fire | None:
        """What is to be run at *now*, from what is known at this moment."""
        action = self._action(job, self._entries[job], now)
        return action if isinstance(action, Fire) else None

    def stands(self, fire: Fire, slot: datetime) -> bool:
        """Whether *slot* is still to be run: nobody was faster, and the schedule is what it was."""
        entry = self._entries[fire.job]
        if entry.schedule != fire.schedule or entry.state is None or entry.settled(slot) is not None:
            return False
        return entry.state.idle_since is None and entry.done_until is not None and entry.done_until < slot

    def advanced(self, fire: Fire, until: datetime, slot: datetime | None) -> Advance | None:
        """The state after *slot*, and everything up to *until*, is dealt with; None if the stored one says so."""
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
        """States of schedules that have been gone for long, with their revisions."""
        return [
            (job, entry.revision)
            for job, entry in self._entries.items()
            if entry.schedule is None
            and entry.state is not None
            and entry.state.idle_since is not None
            and entry.state.idle_since < now - REMEMBERED
        ]

    def _wake_at(self, entry: _Entry, now: datetime) -> datetime | None:
        if entry.is_busy or self._able_since is None:
            return None
        if entry.settled(now) is not None:
            wake_at = now
        elif entry.schedule is None or entry.state is None or entry.state.idle_since is not None:
            return None
        else:
            assert entry.done_until is not None
            slot = next_slot(entry.schedule, entry.done_until, entry.state.anchor)
            if slot is None:
                return None
            wake_at = slot if slot > self._able_since else self._able_since + PATIENCE
        return max(wake_at, entry.not_before) if entry.not_before else wake_at

    def _action(self, job: JobRef, entry: _Entry, now: datetime) -> Action | None:
        if entry.settled(now) is not None:
            return Settle(job)
        if entry.schedule is None or entry.state is None or entry.state.idle_since is not None:
            return None
        assert entry.done_until is not None
        assert self._able_since is not None
        due = backlog(
            entry.schedule,
            anchor=entry.state.anchor,
            done_until=entry.done_until,
            able_since=self._able_since,
            now=now,
        )
        return None if due is None else Fire(job, entry.schedule, due)


def _schedules(record: PipelineRecord) -> tuple[Schedule, ...]:
    """Those that this scheduler can follow: a record may hold what no sync would have let through."""
    return tuple(schedule for schedule in _listed(record) if fault(schedule) is None)


def unusable(record: PipelineRecord) -> list[tuple[Schedule, str]]:
    """Schedules of *record* whose slots cannot be computed, each with the reason. They never fire."""
    return [(schedule, why) for schedule in _listed(record) if (why := fault(schedule)) is not None]


def _listed(record: PipelineRecord) -> tuple[Schedule, ...]:
    if record.removed_at is not None or record.live is None:
        return ()
    restart = record.live.spec.restart_schedule()
    return (*record.live.spec.schedule_list(), *((restart,) if restart else ()))
