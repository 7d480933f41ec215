"""A counter in a pipeline's state, while random services are killed. ``CHAOS_SEED=<number>`` repeats a sequence."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Final, NamedTuple

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.bus.streams import bucket_stream
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import ConcurrencySpec, FixedDelay
from fastflow_contracts.runs.run import RUN, RunErrorType, Running, RunRecord, RunStatus
from fastflow_contracts.runs.state.archive import unpack
from fastflow_contracts.runs.state.store import StateStore
from fastflow_contracts.runs.store import RunStore
from tests.chaos.world import World
from tests.support.processes import Service
from tests.support.profile import lasting

RUNS: Final = lasting(40, long=1_000)
ENDS_BEFORE_KILL: Final = lasting(6, long=40)
"""At most so many runs end between two kills."""
RUNNERS: Final = ("one", "two")
RUNNER_SHARE: Final = 0.7
"""Of the kills."""
MOMENT_S: Final = 0.1
"""A run is at work for about as long."""
IDLE_S: Final = 2.0
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
    runners = {name: here.runner(name, sandbox="process") for name in RUNNERS}
    schedulers = [here.scheduler() for _ in range(3)]
    await here.running(*runners.values(), *schedulers)
    await here.pipeline(
        COUNTER,
        MAIN,
        state=True,
        concurrency=ConcurrencySpec(limit=2),
        retry_attempts=50,
        retry_strategy=FixedDelay(delay=0.1),
    )
    refs = [await here.start(COUNTER, key=str(number)) for number in range(RUNS)]
    killing = Killing(here, random.Random(seed), runners, schedulers)
    ended = [await killing.end(ref) for ref in refs]
    attempts = [each for run in ended for each in run.attempts]
    reasons = Counter(str(each.error_type) for each in attempts)
    print(f"{RUNS} runs, attempts: {dict(reasons)}; {killing.kills} kills, {killing.hits} of them hit an attempt")
    assert killing.hits, "no kill hit an attempt: this proves nothing"
    assert reasons[RunErrorType.LOST] + sum(run.epoch > len(run.attempts) for run in ended) >= killing.hits
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


class Held(NamedTuple):
    """A run, and who held it when."""

    ref: RunRef
    runner: str
    epoch: int


class Killing:
    """Kills a random service after a random number of ends. A runner is killed while a run is at work."""

    def __init__(
        self, here: World, dice: random.Random, runners: Mapping[str, Service], schedulers: Sequence[Service]
    ) -> None:
        self._here = here
        self._runs = RunStore(here.bus)
        self._dice = dice
        self._runners = runners
        self._schedulers = schedulers
        self._ends_left = 1
        self.kills = 0
        self.hits = 0
        """Kills of a runner that held a run whose script could have begun."""

    async def end(self, ref: RunRef) -> RunRecord:
        """Return the run once it is over; before that, kill something if it is time."""
        self._ends_left -= 1
        if not self._ends_left:
            self._ends_left = self._dice.randint(1, ENDS_BEFORE_KILL)
            await self._kill()
        return await self._here.end(ref, within_s=600)

    async def _kill(self) -> None:
        held = await self._at_work() if not self.hits or self._dice.random() < RUNNER_SHARE else None
        victim = self._dice.choice(self._schedulers) if held is None else self._runners[held.runner]
        await victim.kill()
        self.kills += 1
        if held is not None:
            run = (await self._runs.load(held.ref)).run
            self.hits += isinstance(run.state, Running) and run.epoch == held.epoch
        await victim.start()

    async def _at_work(self) -> Held | None:
        """Wait until the next run is at work, and a moment more; None: there seem to be no more runs."""
        stream, subject = bucket_stream(subjects.RUNS), subjects.value_subject(subjects.RUNS, subjects.RUN_KEYS)
        after = await self._here.bus.last_sequence(stream)
        with suppress(TimeoutError):
            async with asyncio.timeout(IDLE_S), aclosing(feed(self._here.bus, stream, subject, after=after)) as changes:
                async for batch in changes:
                    for message in batch.messages:
                        run = RUN.decode(message.data)
                        if isinstance(run.state, Running) and run.state.prepared_at:
                            await asyncio.sleep(self._dice.uniform(0, MOMENT_S))  # any step from here on
                            return Held(run.ref, run.state.runner, run.epoch)
        return None
