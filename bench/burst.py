"""Many triggers at once: 50 webhooks until all runs are over, beside a shell that does as many ``docker run --rm``.

Both have the same parallelism, the runner's slots; ``xargs -P`` keeps the shell to it. The shell's containers run once
on Docker's default bridge, and once on a network like that of runs, whose containers do not see each other: Docker sets
up a resolver in each of those.

The first burst finds one waiting sandbox; later ones find as many as the pool may hold, because the pool follows
demand.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from bench.installation import Installation, installation
from bench.report import report
from bench.start import METADATA, SCRIPT, worker_image
from bench.table import Table, Target, figure
from fastflow_runner.settings import RunnerSettings

RUNS = 50
SLOTS = 4
PAUSE_S = 25.0
"""Pause before each burst: used sandboxes are removed and new ones created in the background. That must not slow the
next one down, nor the shell.
"""
ROUNDS = 3
NETWORK = RunnerSettings().network


async def measure(rounds: int = ROUNDS) -> Table:
    """Measure all three."""
    runs_s, shell_s, walled_s = [], [], []
    image, settings = worker_image(), {"RUNNER_SLOTS": str(SLOTS)}
    async with installation({"hello": {"main.py": SCRIPT, "pipeline.json": METADATA}}, settings=settings) as made:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)  # the container runs as another user
            Path(folder, "main.py").write_text(SCRIPT)
            await asyncio.sleep(PAUSE_S)
            first_s = await _burst(made)
            for _ in range(rounds):
                await asyncio.sleep(PAUSE_S)
                runs_s.append(await _burst(made))
                await asyncio.sleep(PAUSE_S)
                shell_s.append(await _shell(image, folder, "bridge"))
                await asyncio.sleep(PAUSE_S)
                walled_s.append(await _shell(image, folder, NETWORK))
    return Table(
        f"Burst: {RUNS} triggers at once, {SLOTS} runs at any time",
        (
            figure("webhooks → all runs over", runs_s, "s", floor=shell_s, targets=(Target("ratio", 1.0),)),
            figure("the very first of them", [first_s], "s", floor=shell_s),
            figure(f"floor: `xargs -P {SLOTS} docker run --rm`", shell_s, "s"),
            figure("the same on a network like that of runs", walled_s, "s"),
        ),
    )


async def _burst(made: Installation) -> float:
    """Return the seconds until the last of ``RUNS`` runs is over."""

    async def one() -> None:
        run = await made.webhook("hello")
        async for name, data in made.events(run["id"]):
            if name == "end":
                assert data["status"] == "SUCCESS", data

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(RUNS):
            group.create_task(one(), name=f"burst-{number}")
    return time.perf_counter() - started


async def _shell(image: str, folder: str, network: str) -> float:
    """Return the seconds that a shell needs for as many containers, with the same limits."""
    command = (
        f"seq {RUNS} | xargs -P {SLOTS} -I{{}} docker run --rm --network={network} -m 256m --cpus 1 "
        f"-v {folder}:/w:ro -w /w --entrypoint python3 {image} -u main.py"
    )
    started = time.perf_counter()
    process = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0
    return time.perf_counter() - started


if __name__ == "__main__":
    report(measure)
