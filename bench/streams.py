"""The cost of idle followers: memory of a gateway with 1,000 open log streams of a silent run."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import tempfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

from tests.support.ids import fresh_run_id
from tests.support.processes import Service
from tests.support.records import a_bundle, publish_pipeline

from bench.installation import TOKEN, free_port
from bench.machine import cpu_s, memory_mib
from bench.report import report
from bench.table import Table, Target, figure
from fastflow.local.nats_server import embedded_bus
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.streams import ensure
from fastflow_contracts.clock import now
from fastflow_contracts.names import check_name
from fastflow_contracts.runs.run import RUN, Order, Running, RunRecord

STREAMS = 1000
AT_ONCE = 50
"""Streams opened at the same time."""
IDLE_S = 15.0
PIPELINE = check_name("silent")


async def measure(streams: int = STREAMS) -> Table:
    """Measure memory before and after opening the streams and leaving them idle."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the gateway inherits it
    with tempfile.TemporaryDirectory() as folder:
        async with embedded_bus(Path(folder)) as url, connect(url, name="bench") as bus:
            await ensure(bus.js)
            run = await _silent_run(bus)
            async with _gateway(url) as (pid, port):
                before_mib = memory_mib(pid)
                room = asyncio.Semaphore(AT_ONCE)
                writers = await asyncio.gather(*(_follow(port, run, room) for _ in range(streams)))
                open_mib, used_s = memory_mib(pid), cpu_s(pid)
                await asyncio.sleep(IDLE_S)
                grown_mib, used_s = memory_mib(pid) - before_mib, cpu_s(pid) - used_s
                for writer in writers:
                    writer.close()
    return Table(
        f"Streams: one gateway, {streams:,} followers of a silent run",
        (
            figure(f"growth of its memory, after {IDLE_S:g} s", [grown_mib], "MiB", targets=(Target("median", 100),)),
            figure("the same, just opened", [open_mib - before_mib], "MiB"),
            figure("processor time meanwhile, of one core", [100 * used_s / IDLE_S], "%"),
        ),
    )


async def _silent_run(bus: Bus) -> RunRecord:
    """Create a run that has started and has not printed anything."""
    await publish_pipeline(bus, PIPELINE, a_bundle(main_py="import time; time.sleep(3600)"))
    begun_at = now() - timedelta(minutes=1)
    run = RunRecord(
        id=fresh_run_id(),
        pipeline=PIPELINE,
        created_at=begun_at,
        order=Order(kind="script", bundle="b" * 64, python_version="3.11", triggered_by="api"),
        state=Running(attempt=1, runner="r", epoch=1, claimed_at=begun_at, prepared_at=begun_at),
        epoch=1,
    )
    await bus.put(subjects.RUNS, subjects.run_key(run.ref), RUN.encode(run))
    return run


@contextlib.asynccontextmanager
async def _gateway(url: str) -> AsyncIterator[tuple[int, int]]:
    """Start a gateway; return its process id and port."""
    port = free_port()
    settings = {"FASTFLOW_NATS_URL": url, "FASTFLOW_ADMIN_TOKEN": TOKEN, "FASTFLOW_PORT": str(port)}
    gateway = Service("gateway", settings)
    await gateway.start()
    try:
        yield gateway.pid, port
    finally:
        await gateway.terminate()


async def _follow(port: int, run: RunRecord, room: asyncio.Semaphore) -> asyncio.StreamWriter:
    """Open a stream and wait until it is established."""
    async with room:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"GET /api/runs/{run.id}/logs/stream HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        writer.write(head.encode())
        assert b" 200 " in await reader.readline()
        await reader.readuntil(b"\r\n\r\n")
    return writer


if __name__ == "__main__":
    report(measure)
