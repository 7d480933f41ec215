"""A writer that changes runs all the time: ``python -m bench.changes URL CHANGES_PER_S PIPELINES``."""

from __future__ import annotations

import asyncio
import sys

from msgspec.structs import replace
from tests.support.records import a_run

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.clock import now
from fastflow_contracts.runs.run import RUN, Ended, Running, Verdict


async def write(url: str, changes_per_s: float, pipelines: int) -> None:
    """Begin, run and end one run after the other until killed, evenly spaced."""
    loop, number = asyncio.get_running_loop(), 0
    async with connect(url, name="bench-changes") as bus:
        due_s = loop.time()
        while True:
            at = now()
            run = replace(a_run(f"p{number % pipelines:02}"), created_at=at)
            running = replace(run, state=Running(claimed_at=at, attempt=1, epoch=1, runner="r1"))
            ended = replace(run, state=Ended(verdict=Verdict.SUCCESS, at=now()))
            for version in (run, running, ended):
                await bus.put(subjects.RUNS, subjects.run_key(run.ref), RUN.encode(version))
                due_s += 1 / changes_per_s
                await asyncio.sleep(due_s - loop.time())
            number += 1


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
