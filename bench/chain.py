"""Two chained pipelines: from the end of the first one's script to the first line of the second's at an SSE follower.

The end is the script's end on its supervisor's clock, not the time at which it was recorded. The follower opens its
stream as soon as the second run exists. It learns of it as any outside program does: from its event on the bus.
"""

from __future__ import annotations

import asyncio
import json
import time

from nats.aio.msg import Msg

from bench.installation import KEY, Installation, installation
from bench.report import report
from bench.start import METADATA, SCRIPT
from bench.table import Table, Target, figure, ms
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.ids import RunId
from fastflow_contracts.runs.run import RUN, RunRecord

ROUNDS = 25
WARM_UP = 3
PAUSE_S = 1.5
"""Pause before each round: two sandboxes were taken, and new ones are created in the background."""
ROUND_S = 60.0
FIRST = METADATA[:-1] + ', "downstream_triggers": [{"pipeline": "second"}]}'


class Watch:
    """Follows runs on the bus."""

    def __init__(self) -> None:
        self._ends: dict[RunId, float] = {}
        self._seconds: asyncio.Queue[RunId] = asyncio.Queue()

    async def hear(self, message: Msg) -> None:
        """Handle a repeated change of a run's record."""
        run: RunRecord = RUN.decode(message.data)
        if run.pipeline == "second" and run.epoch == 0:
            self._seconds.put_nowait(run.id)
        if run.is_over and (finished_at := run.attempts[-1].finished_at) is not None:
            self._ends[run.id] = finished_at.timestamp()

    async def second(self) -> RunId:
        """Return the next run of the second pipeline."""
        return await self._seconds.get()

    def end(self, run_id: str) -> float:
        """Return when its script ended, in unix time."""
        return self._ends[RunId(run_id)]


async def measure(rounds: int = ROUNDS) -> Table:
    """Measure the chain."""
    pipelines = {
        "first": {"main.py": SCRIPT, "pipeline.json": FIRST},
        "second": {"main.py": SCRIPT, "pipeline.json": METADATA},
    }
    samples = []
    async with installation(pipelines) as made:
        url = (made.data / "bus.url").read_text().strip()
        async with connect(url, name="bench") as bus:
            watch = Watch()
            await bus.client.subscribe("ff.event.run.>", cb=watch.hear)
            for number in range(-WARM_UP, rounds):
                await asyncio.sleep(PAUSE_S)
                async with asyncio.timeout(ROUND_S):
                    taken_s = await _once(made, watch)
                if number >= 0:
                    samples.append(taken_s)
    return Table(
        "Chain: two pipelines, one after the other",
        (
            figure(
                "end of the first → first line of the second at its follower",
                ms(samples),
                "ms",
                targets=(Target("median", 100),),
            ),
        ),
    )


async def _once(made: Installation, watch: Watch) -> float:
    """Return the seconds between the two."""
    first = await made.webhook("first")
    line_at = None
    async for name, _ in made.events(await watch.second()):
        if name == "log" and line_at is None:
            line_at = time.time()
    assert line_at is not None, "a run without output"
    return line_at - watch.end(first["id"])


if __name__ == "__main__":
    assert json.loads(FIRST)["webhook_key"] == KEY
    report(measure)
