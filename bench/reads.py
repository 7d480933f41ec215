"""Reading a long history: the gateway's lists, filters and pages with 100,000 runs on the bus, and its start time.

First while nothing changes, then while a writer makes 50 changes a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiohttp
from tests.support.ids import fresh_run_id

from bench.installation import TOKEN
from bench.machine import memory_mib
from bench.report import report
from bench.table import Figure, Table, Target, figure, ms
from fastflow.local.nats_server import embedded_bus
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.streams import ensure
from fastflow_contracts.clock import now
from fastflow_contracts.names import check_name
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.pipelines.records import PIPELINE, PipelineRecord, Version
from fastflow_contracts.runs.run import (
    RUN,
    AttemptRecord,
    Ended,
    Order,
    RunErrorType,
    RunRecord,
    Verdict,
)

RUNS = 100_000
PIPELINES = 50
READS = 200
COMMANDS = 40
UNDER_WAY = 512
CHANGES_PER_S = 50
"""What a writer makes during the second round of reads: a run begins, runs, ends."""
PATHS = (
    ("newest 50", "/api/runs?limit=50"),
    ("newest 500", "/api/runs?limit=500"),
    ("one pipeline's failed ones", "/api/runs?pipeline_name=p07&status=FAILED&limit=50"),
    ("a trigger that no run has", "/api/runs?triggered_by=webhook"),
    ("a day in the middle", "/api/runs?start_date={day}&limit=50"),
    ("all pipelines", "/api/pipelines"),
    ("one pipeline's totals by day", "/api/pipelines/p07/daily-stats?days=90"),
    ("all schedules", "/api/scheduler/jobs"),
    ("the runs page", "/runs"),
    ("the pipelines page", "/"),
    ("the page of a pipeline", "/pipelines/p07"),
    ("the schedules page", "/schedules"),
    ("the graph page", "/graph"),
    ("the runners page", "/runners"),
    ("the page of refused starts", "/skipped"),
    ("the metrics", "/metrics"),
    ("one recent run", "/api/runs/{recent}"),
    ("one of the oldest runs", "/api/runs/{old}"),
    ("the page of a run", "/runs/{recent}"),
)


async def measure(runs: int = RUNS) -> Table:
    """Fill a bus and read it through a gateway."""
    with tempfile.TemporaryDirectory() as folder:
        async with embedded_bus(Path(folder), sync="2m") as url:
            async with connect(url, name="bench") as bus:
                await ensure(bus.js)
                ids = await fill(bus, runs)
            return await read(url, runs, ids)


async def fill(bus: Bus, count: int) -> list[str]:
    """Write pipelines and ended runs, as after some weeks."""
    names = [check_name(f"p{number:02}") for number in range(PIPELINES)]
    moment = now()
    for name in names:
        record = PipelineRecord(
            name=name, live=Version(bundle="b" * 64, spec=PipelineSpec(), live_since=moment), seen_at=moment
        )
        await bus.put(subjects.PIPELINES, subjects.pipeline_key(name), PIPELINE.encode(record))
    room = asyncio.Semaphore(UNDER_WAY)
    ids: list[str] = []

    async def one(number: int) -> None:
        async with room:
            at = moment - timedelta(seconds=count - number)
            failed = number % 7 == 0
            run = RunRecord(
                id=fresh_run_id(),
                pipeline=names[number % PIPELINES],
                created_at=at,
                order=Order(kind="script", bundle="b" * 64, python_version="3.11", triggered_by="schedule"),
                state=Ended(verdict=Verdict.FAILED if failed else Verdict.SUCCESS, at=at + timedelta(seconds=2)),
                attempts=(
                    AttemptRecord(
                        number=1,
                        runner="r",
                        claimed_at=at,
                        prepared_at=at,
                        started_at=at,
                        finished_at=at + timedelta(seconds=2),
                        exit_code=int(failed),
                        error_type=RunErrorType.SCRIPT_ERROR if failed else None,
                    ),
                ),
            )
            await bus.put(subjects.RUNS, subjects.run_key(run.ref), RUN.encode(run))
            ids.append(run.id)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(number))
    return ids


async def read(url: str, runs: int, ids: list[str]) -> Table:
    """Start a gateway, wait until it is ready, and read."""
    port = 18_000 + os.getpid() % 1000
    environ = os.environ | {"FASTFLOW_NATS_URL": url, "FASTFLOW_ADMIN_TOKEN": TOKEN, "FASTFLOW_PORT": str(port)}
    started = time.perf_counter()
    gateway = subprocess.Popen([sys.executable, "-m", "fastflow_gateway"], env=environ, stderr=subprocess.DEVNULL)
    base = f"http://127.0.0.1:{port}"
    figures: list[Figure] = []
    try:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as http:
            await _ready(http, base)
            ready_s = time.perf_counter() - started
            figures += await _times(http, base, runs, ids, "")
            async with _changing(url):
                figures += await _times(http, base, runs, ids, f", under {CHANGES_PER_S} changes a second")
            figures += await asyncio.to_thread(_commands, base)
            size_mib = memory_mib(gateway.pid)
    finally:
        gateway.terminate()
        gateway.wait()
    figures += [
        figure("start of the gateway → ready", [ready_s], "s"),
        figure("its memory", [size_mib], "MiB"),
    ]
    return Table(f"Reads: the gateway with {runs:,} runs of {PIPELINES} pipelines", tuple(figures))


async def _times(http: aiohttp.ClientSession, base: str, runs: int, ids: list[str], when: str) -> list[Figure]:
    """Ask for each page and each list ``READS`` times."""
    chosen, figures = random.Random(1), []
    for name, path in PATHS:
        samples = []
        for _ in range(READS):
            at = time.perf_counter()
            target = path.format(
                recent=chosen.choice(ids[-1000:]), old=chosen.choice(ids[:1000]), day=_day_in_the_middle(runs)
            )
            async with http.get(base + target) as response:
                await response.read()
                assert response.status == 200, (target, response.status)
            samples.append(time.perf_counter() - at)
        figures.append(figure(name + when, ms(samples), "ms", targets=(Target("p99", 50),)))
    return figures


@contextlib.asynccontextmanager
async def _changing(url: str) -> AsyncIterator[None]:
    """Change runs all the time, in a process of its own."""
    writer = subprocess.Popen([sys.executable, "-m", "bench.changes", url, str(CHANGES_PER_S), str(PIPELINES)])
    try:
        yield
        assert writer.poll() is None, "the writer has ended"
    finally:
        writer.terminate()
        writer.wait()


def _commands(base: str) -> list[Figure]:
    """Time the whole process of a command, beside one that does nothing."""
    python = Path(sys.executable)
    environ = os.environ | {"FASTFLOW_URL": base, "FASTFLOW_TOKEN": TOKEN}
    listing, floor = [], []
    for _ in range(COMMANDS):
        floor.append(_seconds([python, "-c", "pass"], environ))
        listing.append(_seconds([python.with_name("fastflow"), "ps", "--all"], environ))
    return [
        figure("`python -c pass`", ms(floor), "ms"),
        figure("`fastflow ps --all`, the whole command", ms(listing), "ms", targets=(Target("median", 100),)),
    ]


def _seconds(command: list[str | Path], environ: dict[str, str]) -> float:
    at = time.perf_counter()
    subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - at


def _day_in_the_middle(runs: int) -> str:
    return (now() - timedelta(seconds=runs / 2)).strftime("%Y-%m-%dT%H:%M:%SZ")


async def _ready(http: aiohttp.ClientSession, base: str) -> None:
    async with asyncio.timeout(120):
        while True:
            try:
                async with http.get(f"{base}/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    report(measure)
