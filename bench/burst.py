"""Many triggers at once: 50 webhooks until all runs are over, beside a shell that does as many ``docker run --rm``.

All have the same parallelism, the runner's slots; ``xargs -P`` keeps the shell to it. The shell's containers run once
on Docker's default bridge, and once on a network like that of runs, whose containers do not see each other: Docker sets
up a resolver in each of those.

The first burst finds one waiting container; later ones find as many as the pool may hold, because the pool follows
demand.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from bench.installation import Installation
from bench.report import report
from bench.start import SCRIPT, installations, worker_image
from bench.table import Table, Target, figure
from fastflow_runner.settings import RunnerSettings

RUNS = 50
SLOTS = 4
PAUSE_S = 25.0
"""Pause before each burst in Docker, and after it: used sandboxes are removed and new ones created in the background.
That must not slow the next one down, nor the shell.
"""
BUBBLE_PAUSE_S = 10.0
"""The same for sandboxes of bubblewrap."""
SHORT_PAUSE_S = 3.0
"""Pause after what leaves nothing to do."""
ROUNDS = 3
NETWORK = RunnerSettings().network
NONE = "bubble without a network"


async def measure(rounds: int = ROUNDS) -> Table:
    """Measure all of them."""
    docker_s, shell_s, walled_s, bubble_s, none_s, process_s = [], [], [], [], [], []
    image = worker_image()
    async with installations("Docker", "bubble", NONE, "process", RUNNER_SLOTS=str(SLOTS)) as made:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)  # the container runs as another user
            Path(folder, "main.py").write_text(SCRIPT)
            await asyncio.sleep(PAUSE_S)
            bubble_first_s = await burst(made["bubble"])
            docker_first_s = await burst(made["Docker"])
            for _ in range(rounds):
                await asyncio.sleep(PAUSE_S)
                docker_s.append(await burst(made["Docker"]))
                await asyncio.sleep(PAUSE_S)
                shell_s.append(await shell(image, folder, "bridge"))
                await asyncio.sleep(SHORT_PAUSE_S)
                walled_s.append(await shell(image, folder, NETWORK))
                for kind, seconds in (("bubble", bubble_s), (NONE, none_s), ("process", process_s)):
                    await asyncio.sleep(BUBBLE_PAUSE_S)
                    seconds.append(await burst(made[kind]))
    of_bubble = (Target("ratio", 0.15),)
    return Table(
        f"Burst: {RUNS} triggers at once, {SLOTS} runs at any time",
        (
            figure("webhooks → all runs over", docker_s, "s", floor=shell_s, targets=(Target("ratio", 1.0),)),
            figure("the very first of them", [docker_first_s], "s", floor=shell_s, targets=(Target("ratio", 1.0),)),
            figure("`bubble`: webhooks → all runs over", bubble_s, "s", floor=shell_s, targets=of_bubble),
            figure("`bubble`: the very first of them", [bubble_first_s], "s", floor=shell_s, targets=of_bubble),
            figure("`bubble` with `FASTFLOW_NETWORK=none`", none_s, "s", floor=shell_s),
            figure("floor: plain processes, no isolation, on the same path", process_s, "s", floor=shell_s),
            figure(f"floor: `xargs -P {SLOTS} docker run --rm`", shell_s, "s"),
            figure("the same on a network like that of runs", walled_s, "s"),
        ),
    )


async def burst(made: Installation) -> float:
    """Return the seconds until the last of ``RUNS`` runs is over."""
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(RUNS):
            group.create_task(made.run("hello"), name=f"burst-{number}")
    return time.perf_counter() - started


async def shell(image: str, folder: str, network: str) -> float:
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
