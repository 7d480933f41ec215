"""Isolated runs a second: triggers are kept queued for 20 s, 4 runs at any time.

The same for a shell that keeps 4 ``docker run --rm`` under way, and for plain processes on the same path.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from bench.burst import RUNS as SHELL_RUNS
from bench.burst import SLOTS, shell
from bench.installation import Installation
from bench.report import report
from bench.start import KINDS, SCRIPT, installations, worker_image
from bench.table import Table, figure

LOAD_S = 20
QUEUED = 3 * SLOTS
"""Triggers whose runs are not over."""
PAUSE_S = 15.0
"""Pause before each load: what the previous one left is removed in the background."""


async def measure(load_s: int = LOAD_S) -> Table:
    """Measure all of them."""
    rates = {}
    async with installations(*KINDS, RUNNER_SLOTS=str(SLOTS)) as made:
        for kind, each in made.items():
            await asyncio.sleep(PAUSE_S)
            rates[kind] = await _load(each, load_s)
        await asyncio.sleep(PAUSE_S)
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)  # the container runs as another user
            Path(folder, "main.py").write_text(SCRIPT)
            by_shell = [SHELL_RUNS / await shell(worker_image(), folder, "bridge")]
    return Table(
        f"Sustained: triggers kept queued for {load_s} s, {SLOTS} runs at any time",
        (
            *(figure(f"{kind}: whole runs a second", rates[kind], "/s", floor=by_shell) for kind in KINDS),
            figure(f"floor: `xargs -P {SLOTS} docker run --rm`, {SHELL_RUNS} of them", by_shell, "/s"),
        ),
    )


async def _load(made: Installation, load_s: int) -> list[float]:
    """Return how many runs ended in each second."""
    seconds = [0.0] * load_s
    until = time.perf_counter() + load_s

    async def one_after_the_other() -> None:
        while (left := until - time.perf_counter()) > 0:
            await made.run("hello")
            if (left := until - time.perf_counter()) > 0:
                seconds[load_s - 1 - int(left)] += 1

    async with asyncio.TaskGroup() as group:
        for number in range(QUEUED):
            group.create_task(one_after_the_other(), name=f"load-{number}")
    return seconds


if __name__ == "__main__":
    report(measure)
