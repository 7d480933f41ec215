"""Trigger to first log line: webhook → line at an SSE follower, compared with ``docker run --rm`` and plain ``python``.

The follower subscribes as soon as it knows the run's id, as a browser does. All run the same script, in turn, in the
same call, so that drift of the machine affects them equally: in Docker, in bubblewrap with the network that users get
and without one, and as a plain process on the same path.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from bench.installation import KEY, Installation, installation
from bench.report import report
from bench.table import Table, Target, figure, ms
from fastflow_runner.sandbox.docker.image import WORKER_BASE_IMAGE, worker_arguments, worker_context, worker_reference

SCRIPT = 'print("first line")\n'
ROUNDS = 100
FLOOR_EVERY = 8
"""Rounds between two measurements of ``docker run``."""
WARM_UP = 3
PAUSE_S = 0.5
"""Pause before each measurement: background work of the previous one must not slow this one down."""
DOCKER_PAUSE_S = 1.5
"""The same after a run in Docker, whose daemon removes its container and makes the next one."""
METADATA = f'{{"webhook_key": "{KEY}", "cpu_hard_limit": 1.0, "mem_hard_limit": "256m"}}'
HELLO = {"hello": {"main.py": SCRIPT, "pipeline.json": METADATA}}
KINDS = {
    "Docker": ("docker", {}),
    "bubble": ("bubble", {}),
    "bubble without a network": ("bubble", {"FASTFLOW_NETWORK": "none"}),
    "process": ("process", {}),
}
"""The sandboxes that are measured, and the settings of each."""


@asynccontextmanager
async def installations(*kinds: str, **settings: str) -> AsyncIterator[dict[str, Installation]]:
    """Run an installation for each of ``KINDS``, with *settings* besides. All have the pipeline ``hello``."""
    async with AsyncExitStack() as stack:
        made = {}
        for kind in kinds:
            sandbox, own = KINDS[kind]
            running = installation(HELLO, sandbox=sandbox, settings=own | settings)
            made[kind] = await stack.enter_async_context(running)
        yield made


async def measure(rounds: int = ROUNDS) -> Table:
    """Measure all of them."""
    first, final = {kind: list[float]() for kind in KINDS}, {kind: list[float]() for kind in KINDS}
    docker, docker_end, plain = [], [], []
    image = worker_image()
    async with installations(*KINDS) as made:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)  # the container runs as another user
            Path(folder, "main.py").write_text(SCRIPT)
            for number in range(-WARM_UP, rounds):
                for kind, each in made.items():
                    await asyncio.sleep(PAUSE_S)
                    line_s, end_s = await trigger_once(each, "hello")
                    if kind == "Docker":
                        await asyncio.sleep(DOCKER_PAUSE_S - PAUSE_S)
                    if number >= 0:
                        first[kind].append(line_s)
                        final[kind].append(end_s)
                await asyncio.sleep(PAUSE_S)
                plain.append((await command_once(sys.executable, "-u", str(Path(folder, "main.py"))))[0])
                if number % FLOOR_EVERY:
                    continue
                await asyncio.sleep(PAUSE_S)
                floor_s, floor_end_s = await command_once(
                    "docker", "run", "--rm", "--network=bridge", "-m", "256m", "--cpus", "1",
                    "-v", f"{folder}:/w:ro", "-w", "/w", "--entrypoint", "python3", image, "-u", "main.py",
                )  # fmt: skip
                await asyncio.sleep(DOCKER_PAUSE_S - PAUSE_S)
                docker.append(floor_s)
                docker_end.append(floor_end_s)
    none, process = "bubble without a network", "process"
    to_line, to_end = "webhook → first line at an SSE follower", "webhook → final state at the follower"
    of_docker = (Target("median", 40), Target("p99", 150), Target("ratio", 0.15))
    of_bubble = (Target("ratio", 2.0),)
    return Table(
        "Start: a script that prints one line, cpu and memory limited",
        (
            figure(f"{to_line}, warm", ms(first["Docker"]), "ms", floor=ms(docker), targets=of_docker),
            figure("floor: `docker run --rm` → first line", ms(docker), "ms"),
            figure(f"{to_end}, warm", ms(final["Docker"]), "ms", floor=ms(docker_end), targets=(Target("median", 60),)),
            figure("floor: `docker run --rm` → its end", ms(docker_end), "ms"),
            figure(f"`bubble`: {to_line}", ms(first["bubble"]), "ms", floor=ms(plain), targets=of_bubble),
            figure("floor: plain `python`, no isolation → first line", ms(plain), "ms"),
            figure("the same beside the process sandbox", ms(first["bubble"]), "ms", floor=ms(first[process])),
            figure(f"floor: process sandbox, no isolation: {to_line}", ms(first[process]), "ms"),
            figure("`bubble` with `FASTFLOW_NETWORK=none`: the same", ms(first[none]), "ms", floor=ms(plain)),
            figure(f"`bubble`: {to_end}", ms(final["bubble"]), "ms", floor=ms(docker_end)),
            figure("`bubble` with `FASTFLOW_NETWORK=none`: the same", ms(final[none]), "ms", floor=ms(docker_end)),
        ),
    )


async def trigger_once(made: Installation, pipeline: str) -> tuple[float, float]:
    """Return the seconds from the webhook to the first line, and to the final state."""
    started = time.perf_counter()
    run = await made.webhook(pipeline)
    line_s = None
    async for name, data in made.events(run["id"]):
        if name == "log" and line_s is None:
            line_s = time.perf_counter() - started
        elif name == "end":
            assert data["status"] == "SUCCESS", data
            assert line_s is not None, "a run without output"
            return line_s, time.perf_counter() - started
    raise AssertionError("the stream ended without an end")


async def command_once(*command: str) -> tuple[float, float]:
    """Return the seconds from the start of *command* to its first line, and to its end."""
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"first line\n"
    line_s = time.perf_counter() - started
    await process.wait()
    return line_s, time.perf_counter() - started


def worker_image() -> str:
    """Return the image that runs use; an installation builds it."""
    return worker_reference(worker_context(None), worker_arguments(WORKER_BASE_IMAGE))


if __name__ == "__main__":
    report(measure)
