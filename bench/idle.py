"""The cost of an idle installation: ``fastflow up`` with 50 pipelines.

CPU of one core and memory, beside the bus server.
"""

from __future__ import annotations

import asyncio

from bench.installation import installation
from bench.machine import cpu_s, memory_mib
from bench.report import report
from bench.table import Table, Target, figure

PIPELINES = 50
SETTLE_S = 15.0
WATCH_S = 40.0


async def measure() -> Table:
    """Measure an idle installation."""
    pipelines = {f"p{number:02}": {"main.py": "print(1)\n"} for number in range(PIPELINES)}
    async with installation(pipelines) as made:
        await asyncio.sleep(SETTLE_S)
        bus = int((made.data / "bus.pid").read_text())
        before, bus_before = cpu_s(made.pid), cpu_s(bus)
        await asyncio.sleep(WATCH_S)
        used, bus_used = cpu_s(made.pid) - before, cpu_s(bus) - bus_before
        own_mib, bus_mib = memory_mib(made.pid), memory_mib(bus)
    return Table(
        f"Idle: `fastflow up` with {PIPELINES} pipelines, {WATCH_S:g} s",
        (
            figure("all four services, of one core", [100 * used / WATCH_S], "%", targets=(Target("median", 2),)),
            figure("their memory", [own_mib], "MiB", targets=(Target("median", 200),)),
            figure("the bus server, of one core", [100 * bus_used / WATCH_S], "%"),
            figure("its memory", [bus_mib], "MiB"),
        ),
    )


if __name__ == "__main__":
    report(measure)
