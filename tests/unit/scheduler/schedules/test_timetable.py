"""What the timetable tells a scheduler to do, and when."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from typing import Any

from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import PipelineSpec, ScheduleEntry
from fastflow_contracts.pipelines.records import PipelineRecord, Version
from fastflow_contracts.schedules.state import REMEMBERED
from fastflow_scheduler.schedules.timetable import (
    AWAY,
    LEFT,
    LEFT_LOOK,
    PATIENCE,
    Action,
    Fire,
    Settle,
    Timetable,
)
from tests.support.records import T0, at

DEMO = JobRef(PipelineName("demo"), "schedule")


def a_record(name: str = "demo", *, removed: bool = False, **spec: Any) -> PipelineRecord:
    live = Version(bundle="b" * 64, spec=PipelineSpec(**spec), live_since=T0)
    return PipelineRecord(name=PipelineName(name), live=live, seen_at=T0, removed_at=T0 if removed else None)


def actions(timetable: Timetable, now: datetime) -> list[Action]:
    timetable.able(now)
    while timetable.arm(now, most=1000):
        pass
    return timetable.actions(now)


def settle(timetable: Timetable, job: JobRef, now: datetime) -> None:
    """Settle the schedule as if it was stored at once."""
    state = timetable.settlement(job, now)
    assert state is not None
    timetable.see_state(job, state, timetable.revision(job) + 1)
    timetable.done(job)


def a_timetable(*records: PipelineRecord) -> Timetable:
    """A timetable at zero, with everything settled."""
    made = Timetable()
    for record in records:
        made.see_pipeline(record)
    for action in actions(made, T0):
        assert isinstance(action, Settle)
        settle(made, action.job, T0)
    return made


def fired(found: list[Action]) -> list[tuple[JobRef, tuple[datetime, ...]]]:
    assert all(isinstance(action, Fire) for action in found)
    return [(action.job, action.backlog.slots) for action in found if isinstance(action, Fire)]


def tick(timetable: Timetable, seconds: int) -> None:
    """Move the clock to this time."""
    for second in range(seconds):
        timetable.able(at(second))


def test_a_new_schedule_is_settled_before_it_fires() -> None:
    """Its anchor must be stored first."""
    made = Timetable()
    made.see_pipeline(a_record(schedule_interval_seconds=60))
    assert actions(made, T0) == [Settle(DEMO)]
    assert actions(made, T0) == []
    settle(made, DEMO, T0)
    assert actions(made, T0) == []
    assert made.next_instant() == at(60)


def test_a_slot_fires_at_its_instant_and_once() -> None:
    """It is in progress until it is done, and done once it is advanced, stored or not."""
    made = a_timetable(a_record(schedule_interval_seconds=60))
    tick(made, 60)
    assert actions(made, at(59.999)) == []
    (fire,) = actions(made, at(60))
    assert fired([fire]) == [(DEMO, (at(60),))]
    assert actions(made, at(60)) == []
    assert isinstance(fire, Fire)
    assert made.stands(fire, at(60))
    assert made.advanced(fire, at(60), at(60)) is not None
    assert not made.stands(fire, at(60))
    made.done(DEMO)
    assert actions(made, at(60)) == []
    assert made.next_instant() == at(120)


def test_a_clock_that_is_set_back_silences_no_schedule() -> None:
    """It had called slots missed that are still to come."""
    made = a_timetable(a_record(schedule_interval_seconds=60))
    tick(made, 60)
    assert actions(made, at(3_600)) == []
    (early,) = actions(made, at(3_600) + PATIENCE)
    assert isinstance(early, Fire)
    advance = made.advanced(early, early.backlog.until, None)
    assert advance is not None
    made.see_state(DEMO, advance.state, advance.revision + 1)
    made.done(DEMO)
    assert actions(made, at(90)) == [Settle(DEMO)]
    settle(made, DEMO, at(90))
    assert actions(made, at(90)) == []
    assert made.next_instant() == at(120)


def test_a_slot_that_another_scheduler_ran_is_not_run_again() -> None:
    """Its record arrives before the instant, or while this one waits for its turn."""
    made = a_timetable(a_record(schedule_interval_seconds=60))
    tick(made, 60)
    (fire,) = actions(made, at(60))
    assert isinstance(fire, Fire)
    theirs = made.advanced(fire, at(60), at(60))
    assert theirs is not None
    other = a_timetable(a_record(schedule_interval_seconds=60))
    tick(other, 60)
    other.see_state(DEMO, theirs.state, 2)
    assert actions(other, at(60)) == []


def test_the_timetable_has_every_kind_of_job() -> None:
    """Entries, a single time, and restarts; disabled ones are settled and never fire."""
    entries = (
        ScheduleEntry(id="a", schedule_interval_seconds=60),
        ScheduleEntry(id="b", schedule_cron="* * * * *", enabled=False),
        ScheduleEntry(id="c"),
    )
    made = a_timetable(a_record(schedules=entries, run_once_at=at(60), restart_interval=60))
    tick(made, 60)
    assert {job.schedule: slots for job, slots in fired(actions(made, at(60)))} == {
        "schedules/a": (at(60),),
        "once": (at(60),),
        "restart": (at(60),),
    }


def test_a_time_that_had_passed_when_first_seen_is_never_due() -> None:
    """It is settled like any other."""
    made = a_timetable(a_record(run_once_at=at(-1)))
    assert made.next_instant() is None


def test_a_switch_disables_a_schedule_and_survives_syncs() -> None:
    """Even one that came before any scheduler saw the schedule."""
    made = Timetable()
    made.see_switch(DEMO, is_on=False)
    actions(made, T0)
    made.see_pipeline(a_record(schedule_interval_seconds=60))
    actions(made, T0)
    settle(made, DEMO, T0)
    made.see_pipeline(a_record(schedule_interval_seconds=60, description="new"))
    assert actions(made, at(60)) == []
    made.see_switch(DEMO, is_on=True)
    assert actions(made, at(61)) == [Settle(DEMO)]
    settle(made, DEMO, at(61))
    actions(made, at(61))
    assert made.next_instant() == at(120)


def test_a_slot_that_seems_missed_is_left_to_others_for_a_moment() -> None:
    """They may be running it right now."""
    former = a_timetable(a_record(schedule_interval_seconds=60))
    fire = former.fire(DEMO, at(60))
    assert fire is not None
    known = former.advanced(fire, at(60), at(60))
    assert known is not None
    made = Timetable()
    made.see_pipeline(a_record(schedule_interval_seconds=60))
    made.see_state(DEMO, known.state, 2)
    late = at(60 * 5 + 30)
    assert actions(made, late) == []
    assert made.next_instant() == late + PATIENCE
    assert fired(actions(made, late + PATIENCE)) == [(DEMO, (at(300),))]


def test_slots_during_a_long_pause_count_as_missed() -> None:
    """The host slept for an hour: of sixty slots the latest is run, not all of them."""
    made = a_timetable(a_record(schedule_interval_seconds=60))
    assert actions(made, at(3600)) == []
    assert fired(actions(made, at(3600) + PATIENCE)) == [(DEMO, (at(3600),))]


def test_slots_during_a_short_pause_are_all_run() -> None:
    """A busy process misses nothing."""
    made = a_timetable(a_record(schedule_interval_seconds=1))
    waited_s = AWAY.total_seconds()
    assert fired(actions(made, at(waited_s))) == [(DEMO, tuple(at(k) for k in range(1, int(waited_s) + 1)))]


def test_a_clock_that_was_set_back_repeats_nothing() -> None:
    """A finished slot stays finished until the clock has passed it again."""
    made = a_timetable(a_record(schedule_interval_seconds=60))
    tick(made, 60)
    (fire,) = actions(made, at(60))
    assert isinstance(fire, Fire)
    made.advanced(fire, at(60), at(60))
    made.done(DEMO)
    assert actions(made, at(10)) == []
    assert made.next_instant() == at(120)


def test_a_removed_schedule_is_settled_and_later_forgotten() -> None:
    """If it comes back in time, it keeps its anchor."""
    made = a_timetable(a_record(schedule_interval_seconds=60))
    made.see_pipeline(a_record(removed=True))
    assert actions(made, at(1)) == [Settle(DEMO)]
    settle(made, DEMO, at(1))
    actions(made, at(1))
    assert made.next_instant() is None
    assert made.forgettable(at(2)) == []
    ((job, revision),) = made.forgettable(at(2) + REMEMBERED)
    made.see_state(job, None, revision + 1)
    actions(made, at(2))
    assert made.forgettable(at(2) + REMEMBERED) == []
    made.see_pipeline(a_record(schedule_interval_seconds=60))
    assert actions(made, at(3)) == [Settle(DEMO)]
    assert made.revision(DEMO) == revision + 1, "what is written next must expect what marks the removal"


def test_ten_thousand_schedules_are_cheap() -> None:
    """A tick looks only at those that are due: with none it makes few calls."""
    made = a_timetable(*(a_record(f"p{n}", schedule_cron=f"{n % 60} {n % 24} * * *") for n in range(10_000)))
    actions(made, T0)
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        idle = [actions(made, at(second)) for second in range(1, 59)]
    finally:
        sys.setprofile(None)
    assert idle == [[]] * 58
    assert 0 < calls < 58 * 100


def shared(*, own: set[JobRef], names: tuple[str, ...] = ("demo",)) -> Timetable:
    """A timetable of schedules that are settled, of which those in *own* belong to this scheduler."""
    made = a_timetable(*(a_record(name, schedule_interval_seconds=60) for name in names))
    made.is_own = own.__contains__
    tick(made, 60)
    return made


def test_a_slot_is_left_to_the_scheduler_that_it_belongs_to() -> None:
    """Once that one has run it, this one has nothing to do."""
    made = shared(own=set())
    assert actions(made, at(60)) == []
    assert made.next_instant() == at(60) + LEFT_LOOK
    other = a_timetable(a_record(schedule_interval_seconds=60))
    tick(other, 60)
    (fire,) = actions(other, at(60))
    assert isinstance(fire, Fire)
    theirs = other.advanced(fire, at(60), at(60))
    assert theirs is not None
    made.see_state(DEMO, theirs.state, theirs.revision + 1)
    assert actions(made, at(61)) == []
    assert made.next_instant() == at(120)


def test_a_slot_is_taken_over_when_its_scheduler_ends() -> None:
    """At the next look, once."""
    own: set[JobRef] = set()
    made = shared(own=own)
    assert actions(made, at(60)) == []
    own.add(DEMO)
    assert actions(made, at(60.5)) == []
    assert fired(actions(made, at(60) + LEFT_LOOK)) == [(DEMO, (at(60),))]
    assert actions(made, at(62)) == []


def test_a_slot_is_taken_over_from_a_scheduler_that_lives_and_does_nothing() -> None:
    """A wrong view of who lives, or a part that hangs, costs time and no slot."""
    made = shared(own=set())
    now = at(60)
    while not (found := actions(made, now)):
        made.able(now)
        now += LEFT_LOOK
    assert fired(found) == [(DEMO, (at(60),))]
    assert now - at(60) == LEFT


def test_a_new_schedule_is_settled_by_the_scheduler_that_it_belongs_to() -> None:
    """And by another one if that does not happen."""
    made = Timetable(is_own=lambda _: False)
    made.see_pipeline(a_record(schedule_interval_seconds=60))
    assert actions(made, T0) == []
    assert actions(made, T0 + LEFT - timedelta(seconds=1)) == []
    assert actions(made, T0 + LEFT) == [Settle(DEMO)]


def test_many_due_slots_come_in_parts() -> None:
    """So other tasks get their turn; no slot comes twice or is forgotten."""
    made = shared(own={JobRef(PipelineName(name), "schedule") for name in "abc"}, names=("a", "b", "c", "d"))
    assert actions(made, at(59)) == []
    parts = [made.actions(at(60), most=2) for _ in range(3)]
    assert [len(part) for part in parts] == [2, 1, 0]
    assert sorted(job.pipeline for part in parts for job, _ in fired(part)) == ["a", "b", "c"]


def test_a_slot_that_seems_missed_is_left_to_the_others_that_live() -> None:
    """One of them may have left it to a scheduler that ended just then; a new one must not pass over it."""
    skips = a_record(schedule_cron="*/40 * * * *", catchup="none")
    first = a_timetable(skips)
    tick(first, 60)
    (stored,) = [first._entries[DEMO].state]
    assert stored is not None
    made = Timetable(is_alone=lambda: False)
    made.see_pipeline(skips)
    made.see_state(DEMO, stored, 1)
    born = at(40 * 60 + 3)
    made.able(born)
    assert actions(made, born) == []
    assert actions(made, born + PATIENCE) == []
    assert actions(made, born + PATIENCE + LEFT - timedelta(seconds=1)) == []
    made.is_alone = lambda: True
    assert len(actions(made, born + PATIENCE + LEFT)) == 1
