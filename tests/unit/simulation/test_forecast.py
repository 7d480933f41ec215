"""What ``fastflow simulate`` foresees is what the schedulers do: both worlds start the same runs at the same times."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.concurrency import ConcurrencySpec
from fastflow_contracts.pipelines.format.spec import CustomSchedule, DownstreamRule, PipelineSpec, ScheduleEntry
from fastflow_contracts.runs.run import Ended, RunErrorType, Running, RunRecord
from fastflow_contracts.simulation.forecast import Forecast
from fastflow_contracts.simulation.scenario import Scenario, SimulatedPipeline
from fastflow_contracts.simulation.simulate import simulate
from tests.support.records import T0
from tests.support.simulation import run_world, runner_twin, schedule_world
from tests.support.simulation.run_world import Fate, RunWorld

pytestmark = pytest.mark.simulation

DAYS = 6
DURATIONS = {
    "etl": 907.0,
    "report": 61.5,
    "alarm": 5.25,
    "few": 9_001.0,
    "line": 14_003.0,
    "newest": 15_007.0,
    "regular": 9e4,
    "short": 1_801.0,
}
SPECS = {
    "etl": PipelineSpec(
        schedules=(
            ScheduleEntry(id="often", schedule_interval_seconds=40_013),
            ScheduleEntry(id="nightly", schedule_cron="7 2 * * *", timezone="Europe/Berlin"),
        ),
        downstream_triggers=(
            DownstreamRule(pipeline=PipelineName("report")),
            DownstreamRule(pipeline=PipelineName("alarm"), on_success=False, on_failure=True),
        ),
    ),
    "report": PipelineSpec(downstream_triggers=(DownstreamRule(pipeline=PipelineName("gone")),)),
    "alarm": PipelineSpec(),
    "few": PipelineSpec(
        schedule_cron="11 */1 * * *",
        max_instances=2,
        timeout=4_000,
        retry_attempts=1,
        retry_strategy=CustomSchedule(delays=(600.0,)),
        downstream_triggers=(DownstreamRule(pipeline=PipelineName("alarm"), on_failure=True),),
    ),
    "line": PipelineSpec(schedule_cron="13 */3 * * *", concurrency=ConcurrencySpec()),
    "refusing": PipelineSpec(schedule_cron="*/17 * * * *", concurrency=ConcurrencySpec(on_limit="reject")),
    "newest": PipelineSpec(schedule_cron="29 */3 * * *", concurrency=ConcurrencySpec(on_limit="replace")),
    "regular": PipelineSpec(timeout=0, restart_cooldown=30, restart_interval="3 */6 * * *"),
    "off": PipelineSpec(schedule_cron="* * * * *", enabled=False),
}
ASSUMED_S = 2_003.0


QUEUES = {
    "short": PipelineSpec(schedule_cron="*/20 * * * *"),
    "long": PipelineSpec(schedule_cron="3-59/30 * * * *", retry_attempts=1, timeout=1_500),
    "line": PipelineSpec(schedule_cron="13 */2 * * *", concurrency=ConcurrencySpec()),
    "rare": PipelineSpec(schedule_cron="17 5 * * *", timezone="America/New_York"),
}
"""No followups: whether they or a waiting run get a slot first is chance if both come in the same millisecond."""


def test_the_forecast_starts_what_the_schedulers_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots, chains, retries, restarts and every kind of limit: the same runs, begun in the same second."""
    world, foreseen, forecast = lived(monkeypatch, SPECS, slots=100)
    assert begun(foreseen) == begun(world.history)
    assert ended(foreseen) == ended(world.history)
    assert forecast.refused == len(world.skipped)
    assert {each.reason for each in forecast.refusals} == {skip.reason for skip in world.skipped.values()}
    by_name = {each.pipeline: each for each in forecast.pipelines}
    assert by_name["line"].wait_max_s > 0
    assert by_name["few"].failed > 10
    assert by_name["few"].refused > 10
    assert by_name["refusing"].refused > 10
    assert by_name["newest"].replaced > 10
    assert by_name["report"].starts > 10
    assert by_name["alarm"].starts > 10
    assert by_name["regular"].starts > 10


def test_the_forecast_queues_as_the_schedulers_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too few slots: runs wait, pipelines take turns, and every attempt begins in the same second."""
    world, foreseen, forecast = lived(monkeypatch, QUEUES, slots=2)
    assert begun(foreseen) == begun(world.history)
    assert ended(foreseen) == ended(world.history)
    assert forecast.waiting_max > 20
    assert forecast.busy_max == 2


def lived(
    monkeypatch: pytest.MonkeyPatch, specs: dict[str, PipelineSpec], *, slots: int
) -> tuple[RunWorld, list[tuple[datetime, RunRecord]], Forecast]:
    """Let one scheduler and one runner live, without any mishap; and simulate the same."""
    for module, name, value in (
        (runner_twin, "SLOTS", slots),
        (runner_twin, "PREPARE_S", 0.0),
        (runner_twin, "RELEASE_P", 0.0),
        (run_world, "STOP_S", 0.0),
        (run_world, "LOST_P", 0.0),
        (run_world, "DUPLICATE_P", 0.0),
        (schedule_world, "OWN_P", 1.0),
    ):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(schedule_world.Replica, "tell", tell_a_moment_later)
    world = RunWorld(1, fates={PipelineName(name): fate(name, spec) for name, spec in specs.items()})
    for name, spec in specs.items():
        world.sync(name, spec)
    world.start_scheduler()
    world.start_runner("r1")
    world.run_until(T0 + timedelta(days=DAYS, seconds=-1), calm=True)
    foreseen: list[tuple[datetime, RunRecord]] = []
    pipelines = tuple(
        SimulatedPipeline(name=PipelineName(name), spec=spec, duration_s=DURATIONS.get(name))
        for name, spec in specs.items()
    )
    scenario = Scenario(pipelines=pipelines, slots=slots, assumed_s=ASSUMED_S)
    return world, foreseen, simulate(scenario, T0, DAYS, on_change=lambda at, run: foreseen.append((at, run)))


def tell_a_moment_later(one: schedule_world.Replica, news: Any) -> None:
    """Each step is over when the feed brings what it changed: who is faster would be chance."""
    one._news.append((one.world.now + timedelta(microseconds=1), news))


def fate(name: str, spec: PipelineSpec) -> Fate:
    duration_s, timeout_s = DURATIONS.get(name, ASSUMED_S), spec.timeout
    if timeout_s and duration_s > timeout_s:
        return lambda _: (timeout_s, RunErrorType.TIMEOUT)
    return lambda _: (duration_s, None)


def begun(history: list[tuple[datetime, RunRecord]]) -> list[tuple[datetime, str, RunId, int]]:
    """When each attempt was claimed, to the second."""
    return sorted(
        {
            (run.state.claimed_at.replace(microsecond=0), run.pipeline, run.id, run.state.attempt)
            for _, run in history
            if isinstance(run.state, Running)
        }
    )


def ended(history: list[tuple[datetime, RunRecord]]) -> dict[RunId, str]:
    return {run.id: run.state.verdict for _, run in history if isinstance(run.state, Ended)}
