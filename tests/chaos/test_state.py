"""A counter in a pipeline's state, while random services are killed. ``CHAOS_SEED=<number>`` repeats a sequence."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Sequence
from typing import Final

from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import ConcurrencySpec, FixedDelay
from fastflow_contracts.runs.run import RunRecord, RunStatus
from fastflow_contracts.runs.state.archive import unpack
from fastflow_contracts.runs.state.store import StateStore
from tests.chaos.world import World
from tests.support.processes import Service
from tests.support.profile import lasting

RUNS: Final = lasting(40, long=1_000)
KILLS_EVERY_S: Final = 2.0
COUNTER: Final = PipelineName("counter")
MAIN: Final = """\
import os, time
from pathlib import Path
count = Path(os.environ["FASTFLOW_STATE_DIR"]) / "count"
now = int(count.read_text()) if count.exists() else 0
time.sleep(0.05)
count.write_text(str(now + 1))
"""


async def test_a_counter_ends_at_the_number_of_runs_that_succeeded(here: World) -> None:
    """Whoever was killed, at whatever step: no success is lost, and none counts twice."""
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(1 << 32))
    print(f"CHAOS_SEED={seed}")
    services = [
        *(here.scheduler() for _ in range(3)),
        *(here.runner(name, sandbox="process") for name in ("one", "two")),
    ]
    await here.running(*services)
    await here.pipeline(
        COUNTER,
        MAIN,
        state=True,
        concurrency=ConcurrencySpec(limit=2),
        retry_attempts=50,
        retry_strategy=FixedDelay(delay=0.1),
    )
    killing = asyncio.create_task(_kill(random.Random(seed), services))
    try:
        refs = [await here.start(COUNTER, key=str(number)) for number in range(RUNS)]
        ended = [await here.end(ref, within_s=1800) for ref in refs]
    finally:
        killing.cancel()
        await asyncio.wait([killing])
    successes = [run for run in ended if run.status is RunStatus.SUCCESS]
    left = sorted(_left(run) for run in successes)
    assert left == list(range(1, len(successes) + 1))
    assert not [run for run in ended if run not in successes and any(each.state_left for each in run.attempts)]
    states = StateStore(here.bus)
    head = await states.head(COUNTER)
    assert (head.number, len(head.versions)) == (len(successes), min(20, len(successes)))
    by_id = {run.id: run for run in successes}
    for version in head.versions:
        (file,) = unpack(await states.archive(version))
        assert version.run_id is not None
        assert (file.data, _left(by_id[version.run_id])) == (str(version.number).encode(), version.number)
    assert len(successes) == RUNS, [run.attempts[-1] for run in ended if run not in successes][:3]


def _left(run: RunRecord) -> int:
    left = run.attempts[-1].state_left
    assert left is not None, run
    return left


async def _kill(dice: random.Random, services: Sequence[Service]) -> None:
    while True:
        await asyncio.sleep(dice.uniform(0, KILLS_EVERY_S))
        victim = dice.choice(services)
        await victim.kill()
        await asyncio.sleep(dice.uniform(0, 0.5))
        await victim.start()
