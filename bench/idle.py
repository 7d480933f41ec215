"""What doing nothing costs: ``fastflow up`` with 50 pipelines, left alone. CPU of one core and memory, beside the bus
server.
"""

from __future__ import annotations

import asyncio
import sys

from bench.installation import installation
from bench.machine import cpu_s, facts, memory_mib

PIPELINES = 50
SETTLE_S = 20.0
WATCH_S = 60.0


async def measure(watch_s: float = WATCH_S) -> str:
    """Run it and return the table."""
    pipelines = {f"p{number:02}": {"main.py": "print(1)\n"} for number in range(PIPELINES)}
    async with installation(pipelines) as made:
        await asyncio.sleep(SETTLE_S)
        bus = int((made.data / "bus.pid").read_text())
        before, bus_before = cpu_s(made.pid), cpu_s(bus)
        await asyncio.sleep(watch_s)
        used, bus_used = cpu_s(made.pid) - before, cpu_s(bus) - bus_before
        own_mib, bus_mib = memory_mib(made.pid), memory_mib(bus)
    return "\n".join(
        [
            f"Idle with {PIPELINES} pipelines, {watch_s:g} s; {facts()}",
            "",
            "| | % of one core | MiB |",
            "|---|---|---|",
            f"| all four services in one process | {used / watch_s:.2%} | {own_mib:.0f} |",
            f"| the bus server beside it | {bus_used / watch_s:.2%} | {bus_mib:.0f} |",
        ]
    )


if __name__ == "__main__":
    print(asyncio.run(measure(float(sys.argv[1]) if len(sys.argv) > 1 else WATCH_S)))
