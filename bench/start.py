"""Trigger to first log line: webhook → line at an SSE follower, beside ``docker run --rm`` and plain ``python``.

The follower subscribes as soon as it knows the run's id, as a browser does. All three run the same script, in turn,
in the same call, so that drift of the machine hits them alike.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from bench.figures import HEADER, quantile, row
from bench.installation import KEY, Installation, installation
from bench.machine import facts

SCRIPT = 'print("first line")\n'
ROUNDS = 30
WARM_UP = 3
PAUSE_S = 1.0
"""Before each measurement: what the former one left to do in the background must not slow this one down."""
METADATA = f'{{"webhook_key": "{KEY}", "cpu_hard_limit": 1.0, "mem_hard_limit": "256m"}}'


async def measure(rounds: int = ROUNDS) -> str:
    """Run it and return the table."""
    first, final, docker, docker_end, plain = [], [], [], [], []
    async with installation({"hello": {"main.py": SCRIPT, "pipeline.json": METADATA}}) as made:
        image = await worker_image()
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)  # the container runs as another user
            Path(folder, "main.py").write_text(SCRIPT)
            for number in range(-WARM_UP, rounds):
                await asyncio.sleep(PAUSE_S)
                line_s, end_s = await trigger_once(made)
                await asyncio.sleep(PAUSE_S)
                floor_s, floor_end_s = await command_once(
                    "docker", "run", "--rm", "--network=bridge", "-m", "256m", "--cpus", "1",
                    "-v", f"{folder}:/w:ro", "-w", "/w", "--entrypoint", "python3", image, "-u", "main.py",
                )  # fmt: skip
                python_s, _ = await command_once(sys.executable, "-u", str(Path(folder, "main.py")))
                if number >= 0:
                    first.append(line_s)
                    final.append(end_s)
                    docker.append(floor_s)
                    docker_end.append(floor_end_s)
                    plain.append(python_s)
    floor, floor_end = quantile(docker, 0.5), quantile(docker_end, 0.5)
    return "\n".join(
        [
            f"Trigger → first line, {rounds} rounds; {facts()}",
            "",
            HEADER,
            row("webhook → first line at an SSE follower", first, floor=floor),
            row("`docker run --rm` → first line (floor)", docker, floor=floor),
            row("webhook → final state at the follower", final, floor=floor_end),
            row("`docker run --rm` → its end (floor)", docker_end, floor=floor_end),
            row("plain `python` → first line", plain),
        ]
    )


async def trigger_once(made: Installation) -> tuple[float, float]:
    """Seconds from the webhook to the first line, and to the final state."""
    started = time.perf_counter()
    run = await made.webhook("hello")
    line_s = None
    async for name, _ in made.events(run["id"]):
        if name == "log" and line_s is None:
            line_s = time.perf_counter() - started
        elif name == "end":
            assert line_s is not None, "a run without output"
            return line_s, time.perf_counter() - started
    raise AssertionError("the stream ended without an end")


async def command_once(*command: str) -> tuple[float, float]:
    """Seconds from the start of *command* to its first line, and to its end."""
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"first line\n"
    line_s = time.perf_counter() - started
    await process.wait()
    return line_s, time.perf_counter() - started


async def worker_image() -> str:
    """The image that runs use, which the installation has built."""
    process = await asyncio.create_subprocess_exec(
        "docker", "images", "fastflow-worker", "--format", "{{.Repository}}:{{.Tag}}", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return out.decode().split()[0]


if __name__ == "__main__":
    print(asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)))
