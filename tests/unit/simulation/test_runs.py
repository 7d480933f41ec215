"""The promises about runs, over simulated weeks or months, with schedulers and runners killed at every step."""

from __future__ import annotations

import os
import random
from collections import Counter, defaultdict
from datetime import timedelta
from itertools import pairwise
from random import Random

import pytest
from msgspec.structs import replace

from fastflow_contracts.bus.subjects import JobRef, RunRef
from fastflow_contracts.ids import RunId, run_id_for_child, run_id_for_key, run_id_for_slot
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.concurrency import ConcurrencySpec
from fastflow_contracts.pipelines.format.retry import delay_s
from fastflow_contracts.pipelines.format.spec import (
    CustomSchedule,
    DownstreamRule,
    ExponentialBackoff,
    PipelineSpec,
    ScheduleEntry,
)
from fastflow_contracts.runs.messages import Trigger
from fastflow_contracts.runs.run import (
    EDGES,
    RESTART,
    Ended,
    Pending,
    RunErrorType,
    RunInput,
    Running,
    RunRecord,
    RunStatus,
)
from fastflow_contracts.schedules.schedule import RESTART_ID
from fastflow_contracts.starting.followups import Follow, react
from tests.support.profile import lasting
from tests.support.simulation.run_world import Fate, RunWorld
from tests.support.simulation.schedule_world import Created
from tests.support.simulation.slot_promises import check

pytestmark = pytest.mark.simulation

SEED = int(os.environ.get("FASTFLOW_SEED") or random.SystemRandom().randrange(2**32))
WORLDS = lasting(1, long=3)
"""Number of worlds, each with its own seed."""
DAYS = lasting(21, long=105)
MOST = 2

SPECS = {
    "etl": PipelineSpec(
        schedules=(
            ScheduleEntry(id="often", schedule_interval_seconds=40_000, retry_attempts=1),
            ScheduleEntry(id="nightly", schedule_cron="0 2 * * *", timezone="Europe/Berlin"),
        ),
        retry_attempts=3,
        retry_strategy=ExponentialBackoff(initial_delay=60, multiplier=10, max_delay=4000),
        downstream_triggers=(
            DownstreamRule(pipeline=PipelineName("report")),
            DownstreamRule(pipeline=PipelineName("alarm"), on_success=False, on_failure=True),
        ),
    ),
    "report": PipelineSpec(downstream_triggers=(DownstreamRule(pipeline=PipelineName("mail")),)),
    "alarm": PipelineSpec(),
    "mail": PipelineSpec(enabled=False),
    "few": PipelineSpec(
        schedule_cron="*/30 */6 * * *",
        max_instances=MOST,
        retry_attempts=2,
        retry_strategy=CustomSchedule(delays=(0.0, 7_200.0)),
    ),
    "line": PipelineSpec(
        schedule_cron="0 */3 * * *",
        concurrency=ConcurrencySpec(limit=MOST),
        retry_attempts=1,
        retry_strategy=CustomSchedule(delays=(600.0,)),
    ),
    "newest": PipelineSpec(schedule_cron="30 */3 * * *", concurrency=ConcurrencySpec(on_limit="replace")),
    "daemon": PipelineSpec(timeout=0, restart_on_crash=True, restart_cooldown=30, restart_interval=7_200),
    "regular": PipelineSpec(timeout=0, restart_cooldown=0, restart_interval="0 */6 * * *", retry_attempts=1),
    "service": PipelineSpec(timeout=0, restart_on_crash=True, restart_interval="0 3 * * *", max_instances=1),
}
PUSHES = (
    ("alarm", None),
    ("alarm", SPECS["alarm"]),
    ("few", replace(SPECS["few"], enabled=False)),
    *[("few", SPECS["few"])] * 2,
    ("etl", replace(SPECS["etl"], schedules=(replace(SPECS["etl"].schedules[0], enabled=False),))),
    *[("etl", SPECS["etl"])] * 3,
)
"""What leaves, changes and returns: targets, whole pipelines, single schedules. The edges of a run stay."""
DAEMONS = ("daemon", "regular", "service")


def fate(least_s: float, most_s: float, failing: float) -> Fate:
    def draw(chance: Random) -> tuple[float, RunErrorType | None]:
        return chance.uniform(least_s, most_s), RunErrorType.SCRIPT_ERROR if chance.random() < failing else None

    return draw


FATES = {
    "etl": fate(1, 900, 0.4),
    "report": fate(1, 60, 0.1),
    "alarm": fate(1, 5, 0),
    "few": fate(10, 9_000, 0.4),
    "line": fate(10, 18_000, 0.3),
    "newest": fate(10, 18_000, 0.3),
    "daemon": fate(1, 14_400, 0.8),
    "regular": fate(3_600, 90_000, 0.5),
    "service": fate(60, 40_000, 0.9),
}


def lived(seed: int, days: int) -> RunWorld:
    """Return a world of three schedulers and runners, with people who cancel, start and push, then a quiet end."""
    world, chance = RunWorld(seed, fates={PipelineName(name): fate for name, fate in FATES.items()}), Random(seed)
    for name, spec in SPECS.items():
        world.sync(name, spec)
    for number in range(3):
        world.start_scheduler()
        world.start_runner(f"r{number}")
    for number in range(days * 3):
        world.run_until(world.now + timedelta(seconds=chance.uniform(0, 57_600)))
        if world.active and chance.random() < 0.5:
            world.ask(chance.choice(list(world.active.values())).ref)
        else:
            name = PipelineName(chance.choice(("service", "few", "etl", "service")))
            world.ask((name, Trigger(key=str(number))))
        if chance.random() < 0.3:
            world.sync(*chance.choice(PUSHES))
    for name, spec in SPECS.items():
        world.sync(name, spec)
    world.run_until(world.now + timedelta(days=3), calm=True)
    return world


def check_attempts(run: RunRecord) -> None:
    """As many as the retries allow, one after another, none before it was due."""
    assert [attempt.number for attempt in run.attempts] == list(range(1, len(run.attempts) + 1))
    assert len(run.attempts) <= run.order.retry_attempts + 1
    for former, attempt in pairwise(run.attempts):
        due = former.finished_at + timedelta(seconds=delay_s(run.order.retry_strategy, former.number))
        assert attempt.claimed_at >= due, f"attempt {attempt.number} of {run.id} came early"
    if run.status is RunStatus.FAILED:
        assert len(run.attempts) == run.order.retry_attempts + 1


def check_history(world: RunWorld) -> None:
    """Every write is an allowed step, none follows an end, and no runner claims a run too early or beyond a limit."""
    known: dict[RunId, RunRecord] = {}
    active: set[RunId] = set()
    running: defaultdict[PipelineName, set[RunId]] = defaultdict(set)
    for at, run in world.history:
        former = known.get(run.id)
        if former is not None:
            assert not former.is_over
            assert run.status in EDGES[former.status]
            if isinstance(former.state, Pending) and isinstance(run.state, Running):
                assert at >= former.state.not_before
        known[run.id] = run
        if run.pipeline == "few":
            active = active - {run.id} if run.is_over else active | {run.id}
            assert len(active) <= MOST
        if run.order.turn is not None:
            sharing = running[run.pipeline]
            (sharing.add if isinstance(run.state, Running) else sharing.discard)(run.id)
            assert len(sharing) <= run.order.turn.limit


def check_edges(world: RunWorld) -> int:
    """Every end has exactly the followups, or skips, that the pipeline defines; return the number of edges."""
    followed: set[RunId] = set()
    for run in world.records_of.values():
        for step in react(run, world.records[run.pipeline], (), RunInput()):
            assert isinstance(step, Follow)
            child = run_id_for_child(run.id, step.edge)
            assert child in world.records_of or child in world.skipped, f"{step.edge} is lost"
            followed.add(child)
            if step.edge == "restart" and isinstance(run.state, Ended):
                assert run.status is RunStatus.FAILED or run.state.reason == RESTART
    children = {run.id for run in world.records_of.values() if run.order.parent_run_id}
    assert children <= followed
    return len(followed)


def check_slots(world: RunWorld) -> int:
    """A run with the slot's id, or a skip, for every slot that a scheduler could run; nothing else."""
    for skip in world.skipped.values():
        if skip.schedule and skip.scheduled_for:
            job = JobRef(PipelineName(skip.pipeline), skip.schedule)
            world.runs[run_id_for_slot(*job, skip.scheduled_for)] = Created(job, skip.scheduled_for, skip.at)
    for run in world.records_of.values():
        if run.order.schedule and run.order.scheduled_for:
            job = JobRef(run.pipeline, run.order.schedule)
            assert run.id == run_id_for_slot(*job, run.order.scheduled_for)
            world.runs[run.id] = Created(job, run.order.scheduled_for, run.created_at)
    return sum(check(world, job) for job in world.written if job.schedule != RESTART_ID)


def check_requests(world: RunWorld) -> int:
    """A start is one run or skipped, or both if the scheduler died while skipping it; a cancelled run is over."""
    both = 0
    for asked in world.asked:
        match asked:
            case RunRef(run_id=run_id):
                assert world.records_of[run_id].is_over
            case (name, trigger):
                assert trigger.key is not None
                is_there = run_id_for_key(name, trigger.key) in world.records_of
                is_refused = run_id_for_key(name, trigger.key) in world.skipped
                assert is_there or is_refused, f"start {trigger.key} is lost"
                both += is_there and is_refused
    assert both <= world.kills
    return len(world.asked)


def check_daemons(world: RunWorld) -> None:
    """User code of a daemon never runs twice at once."""
    for name in DAEMONS:
        lives = sorted((box.began, box.gone_at) for box in world.sandboxes.values() if box.run.pipeline == name)
        for (_, gone_at), (began, _) in pairwise(lives):
            assert began >= gone_at, f"two instances of {name} at {began}"


def waits_for_its_turn(world: RunWorld, run: RunRecord) -> bool:
    """Whether as many runs as its limit allows are running."""
    turn = run.order.turn
    running = [
        each
        for each in world.active.values()
        if each.order.turn == turn and each.pipeline == run.pipeline and isinstance(each.state, Running)
    ]
    return turn is not None and len(running) == turn.limit


def check_nothing_is_stuck(world: RunWorld) -> None:
    """Every run that is not over is running, waits for its time, or has just arrived."""
    lately = world.now - timedelta(minutes=5)
    for run in world.active.values():
        match run.state:
            case Pending(not_before=not_before):
                assert not_before > lately or waits_for_its_turn(world, run)
            case Running(attempt=attempt, claimed_at=claimed_at):
                box = world.sandboxes.get((run.id, attempt))
                assert claimed_at > lately or (box is not None and box.gone_at > lately)


@pytest.mark.parametrize("number", range(WORLDS))
def test_runs_keep_every_promise_while_schedulers_and_runners_are_killed(number: int) -> None:
    """Schedules, retries, chains, limits, daemons, cancels: every record has an allowed history, and none is
    missing.
    """
    print(f"FASTFLOW_SEED={SEED + number}")
    world = lived(SEED + number, DAYS)
    check_history(world)
    for run in world.records_of.values():
        check_attempts(run)
    slots, edges, asked = check_slots(world), check_edges(world), check_requests(world)
    check_daemons(world)
    check_nothing_is_stuck(world)
    lost = sum(attempt.error_type is RunErrorType.LOST for run in world.records_of.values() for attempt in run.attempts)
    ends = Counter(run.status.value for run in world.records_of.values())
    print(f"{slots} slots, {edges} edges, {asked} requests, {len(world.history)} writes, {world.kills} kills")
    refused = Counter(skip.reason.partition(" ")[0] for skip in world.skipped.values())
    print(f"{lost} lost, ends {dict(ends)}, refused {dict(refused)}")
    assert world.kills
    assert lost
    assert {RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.INTERRUPTED} <= ends.keys()
