"""Slots during a pause are treated as those of a downtime."""

from __future__ import annotations

import pytest

from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.pauses import NOT_PAUSED, PauseRecord, PauseSet
from fastflow_scheduler.schedules.timetable import Timetable
from tests.support.records import T0, at
from tests.unit.scheduler.schedules.test_timetable import DEMO, a_record, a_timetable, actions, fired, tick

PAUSE = PauseRecord(reason="maintenance", at=T0)


def paused(timetable: Timetable, pauses: PauseSet, since: int, until: int) -> None:
    """Keep *pauses* between these seconds; nothing fires meanwhile."""
    timetable.see_pauses(pauses, at(since))
    for second in range(since, until):
        assert fired(actions(timetable, at(second))) == []
    timetable.see_pauses(NOT_PAUSED, at(until))


@pytest.mark.parametrize(
    ("catchup", "slots"), [("none", ()), ("last", (at(80),)), ("all", (at(20), at(40), at(60), at(80)))]
)
def test_slots_of_the_pause_follow_catchup_when_it_ends(catchup: str, slots: tuple[object, ...]) -> None:
    """Also those of its last minute, which a scheduler would otherwise call just due."""
    made = a_timetable(a_record(schedule_interval_seconds=20, catchup=catchup))
    tick(made, 10)
    paused(made, PauseSet(installation=PAUSE), 10, 90)
    assert [found for _, found in fired(actions(made, at(90)))] == [slots]


def test_a_slot_after_the_pause_fires_at_its_time() -> None:
    made = a_timetable(a_record(schedule_interval_seconds=20, catchup="none"))
    paused(made, PauseSet(installation=PAUSE), 0, 30)
    for second in range(30, 40):
        for action in actions(made, at(second)):
            made.done(action.job)
    assert fired(actions(made, at(40)))[0][1] == (at(40),)


def test_a_pause_of_one_pipeline_keeps_no_other_from_firing() -> None:
    made = a_timetable(a_record(schedule_interval_seconds=20), a_record("other", schedule_interval_seconds=20))
    tick(made, 20)
    made.see_pauses(PauseSet(pipelines={PipelineName("other"): PAUSE}), at(19))
    assert [job for job, _ in fired(actions(made, at(20)))] == [DEMO]
    made.see_pauses(NOT_PAUSED, at(30))
    assert [job for job, _ in fired(actions(made, at(30)))] == [JobRef(PipelineName("other"), "schedule")]


def test_a_pause_of_a_pipeline_and_of_the_installation_end_with_the_last_of_them() -> None:
    name = PipelineName("demo")
    made = a_timetable(a_record(schedule_interval_seconds=20))
    tick(made, 10)
    made.see_pauses(PauseSet(installation=PAUSE, pipelines={name: PAUSE}), at(10))
    made.see_pauses(PauseSet(pipelines={name: PAUSE}), at(25))
    assert actions(made, at(45)) == []
    made.see_pauses(NOT_PAUSED, at(50))
    assert [slots for _, slots in fired(actions(made, at(50)))] == [(at(40),)]
