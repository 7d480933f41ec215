"""Whatever decodes, the rules of a scheduler can work with, and the records that they make can be read again."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import pytest
from msgspec.structs import replace

from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.limit_policy import LimitPolicy
from fastflow_contracts.pipelines.links import LINK_SET, Link, LinkSet
from fastflow_contracts.pipelines.records import PIPELINE, PipelineRecord
from fastflow_contracts.runs.messages import TRIGGER, Skipped, Trigger
from fastflow_contracts.runs.run import RUN, RUN_INPUT, Ended, Verdict
from fastflow_contracts.schedules.state import SCHEDULE_STATE, ScheduleState, definition
from fastflow_contracts.starting.admission import Admitted, Cause, Defaults, UnknownPipeline, admit, again
from fastflow_contracts.starting.followups import react
from fastflow_scheduler.schedules.timetable import Fire, Settle, Timetable, unusable
from tests.support.corruption import a_full_pipeline, an_input, fresh_dice, in_any_state, odd, reread
from tests.support.ids import fresh_run_id
from tests.support.profile import lasting
from tests.support.records import T0, at

pytestmark = pytest.mark.simulation

NAME: Final = PipelineName("odd")
DAY_S: Final = 86_400
TRIES: Final = lasting(500, long=5_000)


def test_a_timetable_computes_with_any_pipeline_and_state() -> None:
    """Settling and firing, at once and days later. The states that it stores can be read."""
    dice = fresh_dice()
    for _ in range(TRIES):
        record = odd(dice, PIPELINE, a_full_pipeline(dice, NAME))
        made = Timetable()
        made.see_pipeline(record)
        unusable(record)
        for schedule in record.live.spec.schedule_list() if record.live else ():
            state = ScheduleState(definition=definition(schedule), anchor=T0, done_until=T0, last_slot=T0)
            made.see_state(JobRef(record.name, schedule.id), odd(dice, SCHEDULE_STATE, state), 1)
        for now in (T0, at(1), at(DAY_S), at(40 * DAY_S)):
            carry_out(made, now)
        made.forgettable(at(400 * DAY_S))


def carry_out(timetable: Timetable, now: datetime) -> None:
    """Do what is due, as a scheduler would."""
    for moment in (now, now + timedelta(seconds=3)):
        timetable.able(moment)
        while timetable.arm(moment, most=100):
            pass
        for action in timetable.actions(moment):
            match action:
                case Settle(job):
                    if (state := timetable.settlement(job, moment)) is not None:
                        timetable.see_state(job, reread(SCHEDULE_STATE, state), timetable.revision(job) + 1)
                case Fire():
                    for slot in action.backlog.slots:
                        assert slot <= moment
                        timetable.advanced(action, slot, slot)
            timetable.done(action.job)


def test_a_run_of_any_pipeline_is_admitted_or_refused() -> None:
    """With any trigger, and as a retry of any run. The record of the run can be read."""
    dice = fresh_dice()
    for _ in range(TRIES):
        record = odd(dice, PIPELINE, a_full_pipeline(dice, NAME))
        trigger = odd(dice, TRIGGER, Trigger(env_vars={"A": "b"}, parameters={"p": "1"}, json_parameters=("p",)))
        with suppress(UnknownPipeline):
            check(admitted(record, trigger, Cause(wait_s=1)))
        former, given = odd(dice, RUN, in_any_state(dice)), odd(dice, RUN_INPUT, an_input())
        policy = LimitPolicy(cpu_max=1.0, memory_max=2**30, timeout_max=5.0)
        with suppress(UnknownPipeline):
            check(again(former, given, record, trigger, run_id=fresh_run_id(), policy=policy, now=T0))


def test_the_followups_of_any_run_are_known() -> None:
    """Whatever its pipeline, its links and its input are."""
    dice = fresh_dice()
    for _ in range(TRIES):
        state = Ended(verdict=dice.choice(list(Verdict)), at=T0)
        run = odd(dice, RUN, replace(in_any_state(dice), state=state))
        record = odd(dice, PIPELINE, a_full_pipeline(dice, run.pipeline))
        link = Link(pipeline=NAME, on_failure=True, run_config_id="x", on_route=dice.choice((None, "y")))
        links = odd(dice, LINK_SET, LinkSet(links=(link,)))
        target = a_full_pipeline(dice, NAME)
        for step in react(run, record, links.links, odd(dice, RUN_INPUT, an_input())):
            reread(TRIGGER, step.trigger)
            with suppress(UnknownPipeline):
                check(admitted(target, step.trigger, step.cause))


def admitted(record: PipelineRecord, trigger: Trigger, cause: Cause) -> Admitted | Skipped:
    return admit(NAME, record, trigger, run_id=fresh_run_id(), cause=cause, defaults=Defaults(), now=T0)


def check(found: Admitted | Skipped) -> None:
    if isinstance(found, Admitted):
        reread(RUN, found.run)
        if found.given is not None:
            reread(RUN_INPUT, found.given)
