"""Output of a running cell: from ``print`` to a follower of the run's cells, through the gateway.

Each line holds the time at which it was printed, nothing is flushed, and the follower has the same clock. Lines come at
irregular times: while the cell waits, while it works in Python, and between two calls of a library that keeps the
interpreter's lock, when no other thread of the kernel can send anything.
"""

from __future__ import annotations

import json
import time
from typing import Any

from bench.installation import KEY, Installation, installation
from bench.report import report
from bench.table import Table, Target, figure, ms

LINES = 200
LATE_MS = 200.0
QUIET = "time.sleep(random.uniform(0.01, 0.15))"
BUSY = "until = time.time() + random.uniform(0.01, 0.15)\n    while time.time() < until:\n        pass"
LOCKED = "sum(range(random.randrange(1_000_000, 20_000_000)))"
CELL = """\
import random, sys, time
for _ in range({lines}):
    {work}
    print({kind!r}, time.time(), file=sys.{stream})
"""
LAST_LOCKED = "\n    sum(range(10_000_000))"


async def measure(lines: int = LINES) -> Table:
    """Measure one run of each kind of cell."""
    cells = [
        CELL.format(lines=lines, work=QUIET, kind="quiet", stream="stdout"),
        CELL.format(lines=lines, work=QUIET, kind="stderr", stream="stderr"),
        CELL.format(lines=lines, work=BUSY, kind="busy", stream="stdout"),
        CELL.format(lines=lines, work=LOCKED, kind="locked", stream="stdout") + LAST_LOCKED,
    ]
    metadata = {"type": "notebook", "webhook_key": KEY}
    files = {"main.ipynb": _notebook(cells), "pipeline.json": json.dumps(metadata)}
    async with installation({"cells": files}) as made:
        found = await follow(made)
    names = {
        "quiet": "a waiting cell: print → follower",
        "stderr": "the same on stderr",
        "busy": "a cell at work in Python",
        "locked": "a cell at work under the interpreter's lock",
    }
    assert {kind: len(delays) for kind, delays in found.items()} == dict.fromkeys(names, lines), "lines are missing"
    within = (Target("p99", LATE_MS),)
    return Table(
        f"Cells: {lines} lines of each kind, none flushed",
        tuple(figure(name, ms(found[kind]), "ms", targets=within) for kind, name in names.items()),
    )


async def follow(made: Installation) -> dict[str, list[float]]:
    """Run the notebook; return by first word how many seconds after printing each line arrived."""
    run = await made.webhook("cells")
    found: dict[str, list[float]] = {}
    rests: dict[tuple[int, str], str] = {}
    async with made.http.get(f"{made.url}/api/runs/{run['id']}/cells/stream") as response:
        response.raise_for_status()
        async for raw in response.content:
            now = time.time()
            if not raw.startswith(b'data: {"event":"wrote"'):
                continue
            event: dict[str, Any] = json.loads(raw[6:])
            key = (event["cell"], event["stream"])
            *whole, rests[key] = (rests.get(key, "") + event["text"]).split("\n")
            for line in whole:
                kind, printed_at = line.split()
                found.setdefault(kind, []).append(now - float(printed_at))
    return found


def _notebook(cells: list[str]) -> str:
    """Return a notebook file with these code cells."""
    each: list[dict[str, object]] = [
        {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [], "source": c} for c in cells
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": each})


if __name__ == "__main__":
    report(measure)
