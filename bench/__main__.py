"""``make bench``: run every measurement, print its table, and write all of them to ``bench/results.md``."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bench import burst, control_plane, idle, logs, reads, start

MEASUREMENTS = (
    start.measure,
    burst.measure,
    control_plane.measure,
    logs.measure,
    reads.measure,
    idle.measure,
)


async def main() -> None:
    """Measure one thing at a time: they share the machine."""
    tables = []
    for measure in MEASUREMENTS:
        tables.append(await measure())
        print(tables[-1], end="\n\n", flush=True)
    Path(__file__).with_name("results.md").write_text("\n\n".join(tables) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
