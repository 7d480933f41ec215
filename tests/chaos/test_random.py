"""Runs of several kinds while random services are killed. ``CHAOS_SEED=<number>`` repeats a sequence."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import pytest

from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.pipelines.format.spec import FixedDelay
from fastflow_contracts.runs.run import RunStatus
from tests.chaos.evidence import gather
from tests.chaos.verdict import wrongs
from tests.chaos.world import COUNT, World
from tests.support.processes import Service

pytestmark = pytest.mark.docker

KILLS: Final = 9
RUNS_OF_A_KIND: Final = 2
STARTING_S: Final = 15.0
PAUSE_S_MAX: Final = 0.8
BUS: Final = "bus"


class Kind(NamedTuple):
    """A script and its expected end, with any kills."""

    main: str
    status: RunStatus
    exit_codes: tuple[int, ...] = (0,)
    """The number of its attempts."""
    lines: int | None = None
    spec: dict[str, Any] = {}


KINDS: Final = {
    "slow": Kind(COUNT.format(lines=200, pause_s=0.01), RunStatus.SUCCESS, lines=200),
    "flood": Kind("for n in range(60_000):\n    print(n)\n", RunStatus.SUCCESS, lines=60_000),
    "prepared": Kind("print(0)", RunStatus.SUCCESS, lines=1, spec={"requirements": "--no-index  # of its own\n"}),
    "failing": Kind("print(0)\nraise SystemExit(3)\n", RunStatus.FAILED, exit_codes=(3,)),
    "again": Kind(
        "import os\nprint(0)\nraise SystemExit(os.environ['FASTFLOW_ATTEMPT'] == '1')\n",
        RunStatus.SUCCESS,
        exit_codes=(1, 0),
        lines=1,
        spec={"retry_attempts": 1, "retry_strategy": FixedDelay(delay=0.2)},
    ),
    "endless": Kind(COUNT.format(lines=100_000, pause_s=0.05), RunStatus.INTERRUPTED),
}


class Kill(NamedTuple):
    """Which service dies, how long after recovery from the previous kill, and for how long."""

    victim: str
    after_s: float
    down_s: float


class Start(NamedTuple):
    kind: str
    after_s: float
    is_doubled: bool
    """The trigger is published twice."""


async def test_every_run_ends_once_and_correctly_under_any_kill(here: World) -> None:
    """Every accepted trigger is one run, with one end, the right one, a complete log, and no container left."""
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(1 << 32))
    print(f"CHAOS_SEED={seed}")
    services = {"scheduler": here.scheduler(), "one": _runner(here, "one"), "two": _runner(here, "two")}
    kills, starts = plan(random.Random(seed), [*services, BUS])
    await here.running(*services.values())
    for name, kind in KINDS.items():
        await here.pipeline(name, kind.main, **kind.spec)
    async with asyncio.TaskGroup() as group:
        group.create_task(_kill(here, services, kills))
        starting = [group.create_task(_start(here, start)) for start in starts]
    refs = {task.result() for task in starting}
    for ref in refs:
        run, kind = await here.end(ref), KINDS[ref.pipeline]
        assert run.status is kind.status, run
        if run.status is not RunStatus.INTERRUPTED:
            assert tuple(attempt.exit_code for attempt in run.attempts) == kind.exit_codes, run
    for name in ("one", "two"):
        assert await services[name].terminate() == 0
    assert wrongs(await gather(here), refs, lines={name: kind.lines for name, kind in KINDS.items()}) == []


def _runner(world: World, name: str) -> Service:
    return world.runner(name, RUNNER_POOL_SIZE="2")


def plan(dice: random.Random, victims: Sequence[str]) -> tuple[list[Kill], list[Start]]:
    """Draw everything random."""
    kills = [
        Kill(dice.choice(victims), dice.uniform(0, PAUSE_S_MAX), dice.uniform(0, PAUSE_S_MAX)) for _ in range(KILLS)
    ]
    starts = [
        Start(kind, dice.uniform(0, STARTING_S), dice.random() < 0.3) for kind in KINDS for _ in range(RUNS_OF_A_KIND)
    ]
    return kills, starts


async def _kill(world: World, services: dict[str, Service], kills: Sequence[Kill]) -> None:
    for victim, after_s, down_s in kills:
        await asyncio.sleep(after_s)
        print(f"killing the {victim} for {down_s:.2f} s")
        if victim == BUS:
            await world.server.kill()
            await asyncio.sleep(down_s)
            await world.server.start()
        else:
            await services[victim].kill()
            await asyncio.sleep(down_s)
            await services[victim].start()


async def _start(world: World, start: Start) -> RunRef:
    await asyncio.sleep(start.after_s)
    key = f"{start.kind}-{start.after_s}"
    ref = await world.start(start.kind, key=key)
    if start.is_doubled:
        assert await world.start(start.kind, key=key) == ref
    if KINDS[start.kind].status is RunStatus.INTERRUPTED:
        await world.until(ref, lambda run: True)
        await asyncio.sleep(start.after_s / 2)
        await world.cancel(ref)
    return ref
