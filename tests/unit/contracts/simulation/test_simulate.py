"""The days ahead: bounds, changes of the clock, refusals, silent schedules, and what a change makes of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from fastflow_api import shapes
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.concurrency import ConcurrencySpec
from fastflow_contracts.pipelines.format.retry import FixedDelay
from fastflow_contracts.pipelines.format.spec import DownstreamRule, PipelineSpec, ScheduleEntry
from fastflow_contracts.pipelines.pauses import PauseRecord, PauseSet
from fastflow_contracts.runs.run import Pending, Running, RunRecord
from fastflow_contracts.schedules.schedule import PipelineSchedule
from fastflow_contracts.schedules.state import ScheduleState, definition
from fastflow_contracts.simulation.comparison import compared
from fastflow_contracts.simulation.forecast import Forecast
from fastflow_contracts.simulation.scenario import Scenario, SimulatedPipeline
from fastflow_contracts.simulation.simulate import simulate

MARCH = datetime(2026, 3, 20, tzinfo=UTC)
OCTOBER = datetime(2026, 10, 20, tzinfo=UTC)


def pipeline(name: str, duration_s: float | None = 10.0, **spec: Any) -> SimulatedPipeline:
    return SimulatedPipeline(name=PipelineName(name), spec=PipelineSpec(**spec), duration_s=duration_s)


def foreseen(*pipelines: SimulatedPipeline, since: datetime = MARCH, days: int = 30, **scenario: Any) -> Forecast:
    return simulate(Scenario(pipelines=pipelines, **scenario), since, days)


def test_a_month_of_minutely_schedules_is_whole() -> None:
    """100 pipelines start 4,320,000 runs, less the slot at which it begins: alike hours are simulated once."""
    found = foreseen(*(pipeline(f"p{number}", schedule_cron="* * * * *") for number in range(100)), slots=100)
    assert (found.until, found.starts) == (MARCH + timedelta(days=30), 100 * (30 * 24 * 60 - 1))
    assert (found.busy_max, found.waiting_max, found.together_max) == (100, 0, 100)
    assert len(found.hours) == 30 * 24
    assert found.hours[5].busy == pytest.approx(100 * 10 / 60, abs=0.01)


def test_alike_hours_count_as_if_each_were_simulated() -> None:
    """With and without the short cut, every number is the same."""
    pipelines = (
        pipeline("a", 100.0, schedule_cron="*/10 * * * *", downstream_triggers=(DownstreamRule(pipeline="b"),)),
        pipeline("b", 30.0, max_instances=1),
        pipeline("c", 200.0, schedule_cron="*/2 8-9 * * *", max_instances=1),
        pipeline("d", 7.0, schedule_cron="30 2 * * *", timezone="Europe/Berlin"),
    )
    scenario = Scenario(pipelines=pipelines, slots=2)
    assert simulate(scenario, MARCH, 12) == simulate(scenario, MARCH, 12, on_change=lambda _at, _run: None)


def test_runs_with_a_thousand_attempts_end_early_with_a_note() -> None:
    """Each attempt copies those before it: as many steps of them took most of a minute."""
    retries: dict[str, Any] = {"timeout": 1.0, "retry_attempts": 1_000, "retry_strategy": FixedDelay(delay=0.0)}
    attempts = 0

    def count(_at: datetime, run: RunRecord) -> None:
        nonlocal attempts
        attempts += isinstance(run.state, Running)

    pipelines = tuple(pipeline(f"p{number}", 100.0, schedule_cron="* * * * *", **retries) for number in range(20))
    found = simulate(Scenario(pipelines=pipelines, slots=1_000), MARCH, 30, on_change=count)
    assert "so many starts are not simulated" in found.notes[-1]
    assert attempts < 2 * 50_000


def test_thousands_of_schedules_of_one_pipeline_end_early_with_a_note() -> None:
    """Each start looks through all of them: once this took a minute, and an hour for what a request may send."""
    entries = tuple(ScheduleEntry(id=f"s{number}", schedule_cron="* * * * *") for number in range(5_000))
    found = foreseen(pipeline("a", schedules=entries), days=1)
    assert found.starts + found.refused <= 10_000
    assert any("so many starts are not simulated" in note for note in found.notes)


def test_a_queue_without_end_ends_early_with_a_note() -> None:
    """Four slots for 100 minutely runs of a minute: the bound is named, and what is left."""
    found = foreseen(*(pipeline(f"p{number}", 60.0, schedule_cron="* * * * *") for number in range(100)))
    assert found.until < MARCH + timedelta(days=1)
    assert found.wait_max_s > 3_600
    assert any("so many starts are not simulated" in note for note in found.notes)
    assert any("are not over" in note for note in found.notes)


@pytest.mark.parametrize(
    "pipelines",
    [
        (pipeline("a", schedule_cron="0 1 * * *", restart_on_crash=True, restart_cooldown=0, timeout=1e-9),),
        (pipeline("a", schedule_cron="* * * * *", retry_attempts=1000, timeout=1, retry_strategy=FixedDelay(delay=0)),),
        tuple(pipeline(f"p{number}", schedule_interval_seconds=1) for number in range(10_000)),
        tuple(pipeline(f"p{number}", schedule_interval_seconds=1 + number) for number in range(5_000)),
    ],
    ids=["a restart without end", "a thousand retries", "10,000 a second", "thousands of intervals"],
)
def test_what_has_no_end_is_bounded(pipelines: tuple[SimulatedPipeline, ...]) -> None:
    """It ends early and says where, and counts what it did until then."""
    found = foreseen(*pipelines)
    assert found.until < MARCH + timedelta(days=30)
    assert found.starts > 0
    assert any("so many starts are not simulated" in note for note in found.notes)


def test_ten_thousand_schedules() -> None:
    """All count; the list of pipelines is cut and says so."""
    found = foreseen(
        *(pipeline(f"p{number}", schedule_cron=f"{number % 60} {number % 24} * * *") for number in range(10_000)),
        days=2,
        slots=500,
    )
    assert found.starts == pytest.approx(20_000, abs=84)
    assert len(found.pipelines) == 1_000
    assert any("of 10,000" in note for note in found.notes)


@pytest.mark.parametrize(
    ("since", "cron", "what", "count", "starts"),
    [
        (MARCH, "30 2 * * *", "moved", 1, 30),
        (MARCH, "*/20 * * * *", "skipped", 3, 30 * 72 - 1),
        (OCTOBER, "30 2 * * *", "once", 1, 30),
        (OCTOBER, "*/20 * * * *", "twice", 3, 30 * 72 - 1),
    ],
)
def test_changes_of_the_clock(since: datetime, cron: str, what: str, count: int, starts: int) -> None:
    """Fixed times are moved or run once; what is due in every hour follows elapsed time."""
    found = foreseen(pipeline("a", schedule_cron=cron, timezone="Europe/Berlin"), since=since)
    (change,) = found.clock_changes
    assert (change.at.hour, abs(change.minutes), change.timezone) == (1, 60, "Europe/Berlin")
    (slots,) = change.slots
    assert (slots.what, slots.count, slots.first[-5:]) == (what, count, "02:30" if count == 1 else "02:00")
    assert found.starts == starts


@pytest.mark.parametrize(
    ("zone", "since", "cron", "what", "started_at"),
    [
        ("America/New_York", datetime(2026, 3, 7, tzinfo=UTC), "0 2 * * *", "moved", "2026-03-08 07:00"),
        ("America/New_York", datetime(2026, 3, 7, tzinfo=UTC), "30 2 * * *", "moved", "2026-03-08 07:00"),
        ("America/New_York", datetime(2026, 10, 31, tzinfo=UTC), "30 1 * * *", "once", "2026-11-01 05:30"),
        ("America/Santiago", datetime(2026, 9, 5, tzinfo=UTC), "0 0 * * *", "moved", "2026-09-06 04:00"),
    ],
)
def test_a_time_that_clocks_skip_or_repeat_starts_once(
    zone: str, since: datetime, cron: str, what: str, started_at: str
) -> None:
    """At two, at half past two, at midnight: the run of that day is there, once, and at which instant is said."""
    starts: list[datetime] = []
    scenario = Scenario(pipelines=(pipeline("a", schedule_cron=cron, timezone=zone),))
    found = simulate(
        scenario, since, 2, on_change=lambda at, run: starts.append(at) if isinstance(run.state, Pending) else None
    )
    assert [slots.what for change in found.clock_changes for slots in change.slots] == [what]
    assert f"{starts[1]:%Y-%m-%d %H:%M}" == started_at
    assert len(starts) == found.starts == 2


def test_all_at_midnight_is_named() -> None:
    """The instant with the most starts, and how long the last of them waits."""
    found = foreseen(*(pipeline(f"p{number}", 600.0, schedule_cron="0 0 * * *") for number in range(50)), days=2)
    assert (found.together_max, found.together_at) == (50, MARCH + timedelta(days=1))
    assert (found.waiting_max, found.wait_max_s) == (46, 7_200)


def test_a_zone_that_shifts_by_half_an_hour() -> None:
    """Lord Howe Island: 02:00 to 02:30 does not exist in October."""
    zone = "Australia/Lord_Howe"
    since = datetime(2026, 10, 1, tzinfo=UTC)
    found = foreseen(
        pipeline("a", schedule_cron="15 2 * * *", timezone=zone),
        pipeline("b", schedule_cron="45 2 * * *", timezone=zone),
        pipeline("c", schedule_cron="15 2 * * *"),
        since=since,
    )
    (change,) = found.clock_changes
    assert (change.minutes, [(each.pipeline, each.what) for each in change.slots]) == (30, [("a", "moved")])


def test_a_chain_that_loops_ends_with_a_reason() -> None:
    """The depth of a chain stops it; chains do not make reasons differ, and a target that is gone is refused."""
    links = (DownstreamRule(pipeline="b"), DownstreamRule(pipeline="gone"))
    found = foreseen(
        pipeline("a", schedule_cron="0 * * * *", downstream_triggers=links),
        pipeline("b", downstream_triggers=(DownstreamRule(pipeline="a"),)),
        days=2,
    )
    reasons = {(each.pipeline, each.reason.partition(":")[0]): each.count for each in found.refusals}
    assert reasons["b", "the chain that began stops here"] == 47
    assert {each.pipeline for each in found.refusals} == {"b", "gone"}
    assert "there is no pipeline gone" in found.refusals[0].reason


def test_silent_schedules_say_why() -> None:
    """Disabled, switched off, paused, over, later, an unknown time zone."""
    off = replace(pipeline("off", schedule_cron="0 * * * *"), switched_off=frozenset({"schedule"}))
    pause = PauseSet(pipelines={PipelineName("held"): PauseRecord(reason="x", at=MARCH)})
    found = foreseen(
        off,
        pipeline("disabled", schedule_cron="0 * * * *", enabled=False),
        pipeline("held", schedule_cron="0 * * * *"),
        pipeline("over", schedule_cron="0 * * * *", schedule_end=MARCH - timedelta(days=1)),
        pipeline("later", schedule_cron="0 0 29 2 *"),
        pipeline("nowhere", schedule_cron="0 * * * *", timezone="Mars/Base"),
        pipeline("by-hand"),
        pauses=pause,
    )
    assert found.starts == 0
    assert {each.pipeline: each.why for each in found.silent} == {
        "off": "it is switched off",
        "disabled": 'it is disabled ("enabled": false)',
        "held": "it is paused",
        "over": "it is over",
        "later": "it is due later, at 2028-02-29 00:00 UTC",
        "nowhere": "its time zone 'Mars/Base' is not known here",
    }


def test_intervals_count_from_where_they_are_deployed() -> None:
    """A known state keeps its anchor; a schedule that is new counts from the beginning."""
    spec = PipelineSpec(schedule_interval_seconds=3_600)
    (schedule,) = spec.schedule_list()
    known = replace(pipeline("a"), spec=spec, states={"schedule": state(schedule, MARCH - timedelta(seconds=600))})
    fresh = replace(pipeline("b"), spec=spec)
    found = {each.pipeline: each.next_slots[0] for each in foreseen(known, fresh, days=1).pipelines}
    assert found == {"a": MARCH + timedelta(seconds=3_000), "b": MARCH + timedelta(seconds=3_600)}


def test_a_proposed_change_is_compared() -> None:
    """What is new, gone and moved; and what differs only because others changed."""
    before = (
        pipeline("gone", schedule_cron="0 1 * * *"),
        pipeline("moved", 4_000.0, schedule_cron="0 2 * * *"),
        pipeline("same", schedule_cron="0 7 * * *"),
        pipeline("victim", schedule_cron="10 4 * * *"),
    )
    after = (
        pipeline("moved", 4_000.0, schedule_cron="0 4 * * *"),
        pipeline("new", schedule_interval_seconds=86_400),
        *before[2:],
    )
    old, new = (foreseen(*each, slots=1, days=3) for each in (before, after))
    found = compared(old, new, before, after)
    assert [(each.pipeline, each.change) for each in found.differences] == [
        ("gone", "removed"),
        ("moved", "changed"),
        ("new", "added"),
        ("victim", "affected"),
    ]
    assert found.differences[1].schedules[0].before == "cron 0 2 * * * in UTC"
    assert found.differences[1].schedules[0].after == "cron 0 4 * * * in UTC"
    assert (found.differences[3].wait_max_before_s, found.differences[3].wait_max_after_s) == (0, 3_400)
    assert compared(old, old, before, before).differences == ()
    shape = msgspec.convert(found, shapes.SimulationComparison, from_attributes=True)
    assert msgspec.to_builtins(shape) == msgspec.to_builtins(found)


def test_runs_beyond_their_timeout_fail_and_repeat() -> None:
    """A duration beyond the timeout is cut there, and counts as failed attempts."""
    found = foreseen(pipeline("a", 500.0, schedule_cron="0 * * * *", timeout=60, retry_attempts=2), days=1)
    (runs,) = found.pipelines
    assert (runs.starts, runs.failed) == (23, 69)


def test_what_waits_is_replaced_or_refused_is_counted() -> None:
    """Each policy of concurrency, and the overlap that nothing limits."""
    found = foreseen(
        pipeline("queue", 5_000.0, schedule_cron="0 * * * *", concurrency=ConcurrencySpec()),
        pipeline("reject", 5_000.0, schedule_cron="0 * * * *", concurrency=ConcurrencySpec(on_limit="reject")),
        pipeline("replace", 5_000.0, schedule_cron="0 * * * *", concurrency=ConcurrencySpec(on_limit="replace")),
        pipeline("free", 5_000.0, schedule_cron="0 * * * *"),
        days=1,
        slots=20,
    )
    by_name = {each.pipeline: each for each in found.pipelines}
    assert by_name["queue"].wait_max_s > 5_000
    assert (by_name["reject"].starts, by_name["reject"].refused) == (12, 11)
    assert by_name["replace"].replaced == 22
    assert (by_name["free"].overlaps, by_name["free"].wait_max_s) == (22, 0)
    assert by_name["free"].first_overlap_at == MARCH + timedelta(hours=2)


def state(schedule: PipelineSchedule, anchor: datetime) -> ScheduleState:
    return ScheduleState(definition=definition(schedule), anchor=anchor, done_until=MARCH)


def test_of_runs_that_wait_for_a_slot_a_higher_priority_begins_first() -> None:
    """But for those that runners were about to take when it came."""
    low = [pipeline(f"a{number}", 600.0, schedule_cron="0 1 * * *", priority=-1) for number in range(8)]
    urgent = pipeline("z", 600.0, schedule_cron="0 1 * * *", priority=1)
    begun: list[str] = []

    def note(_at: datetime, run: RunRecord) -> None:
        if isinstance(run.state, Running) and run.state.prepared_at is None:
            begun.append(run.pipeline)

    simulate(Scenario(pipelines=(*low, urgent), slots=1), MARCH, 1, on_change=note)
    assert begun[:4] == ["a0", "a1", "a2", "z"]
    assert sorted(begun) == [*(f"a{number}" for number in range(8)), "z"]


def test_labels_are_not_asked_of_runners_and_a_note_says_so() -> None:
    found = foreseen(pipeline("train", schedule_cron="0 1 * * *", runs_on=("gpu",)), pipeline("etl"), days=1)
    assert found.starts == 1
    assert [note for note in found.notes if note.startswith("Labels")] == [
        "Labels are not asked of runners: any slot takes these pipelines' runs (train)."
    ]
    assert not any("Labels" in note for note in foreseen(pipeline("etl"), days=1).notes)
