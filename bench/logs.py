"""A flood of output: 1,000,000 lines of 100 bytes through the whole path to a follower, beside ``docker logs -f``.

The follower reads server-sent events through the gateway and checks that every line came once and in order. The floor
is the same script in a plain container, with a follower of its json-file log. Memory is that of the whole installation
except the bus.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from bench.installation import Installation, installation
from bench.machine import cpu_s, memory_peak_mib
from bench.report import report
from bench.start import worker_image
from bench.table import Table, Target, figure

LINES = 1_000_000
FOLLOWERS = 10
ROUNDS = 3
ENOUGH_S = 120.0
"""No new round starts after this time: on a busy machine one round takes as long."""
SCRIPT = """\
import sys
count = int(sys.argv[1]) if len(sys.argv) > 1 else LINES
write = sys.stdout.write
for number in range(count):
    write("%09d %s\\n" % (number, "x" * 89))
"""


async def measure(lines: int = LINES) -> Table:
    """Measure one follower, ten, and the floor, in turn."""
    script = SCRIPT.replace("LINES", str(lines))
    one, many, floor = list[float](), list[float](), list[float]()
    one_cpu, many_cpu = list[float](), list[float]()
    image = worker_image()
    async with installation({"flood": {"main.py": script}}) as made:
        enough_at = time.perf_counter() + ENOUGH_S
        while len(many) < ROUNDS and (not many or time.perf_counter() < enough_at):
            for followers, times, cpu_times in ((1, one, one_cpu), (FOLLOWERS, many, many_cpu)):
                before = cpu_s(made.pid)
                times.append(await follow_all(made, lines, followers=followers))
                cpu_times.append(cpu_s(made.pid) - before)
            floor.append(await docker_logs(image, script, lines))
        memory_mib = memory_peak_mib(made.pid)
    return Table(
        f"Logs: {lines:,} lines of 100 bytes, each checked at the follower",
        (
            figure("webhook → last line at an SSE follower", one, "s", floor=floor, targets=(Target("ratio", 0.3),)),
            figure(f"the same, the slowest of {FOLLOWERS} followers in one process", many, "s", floor=floor),
            figure("floor: `docker logs -f`, json-file", floor, "s"),
            figure("processor time of all four services, one follower", one_cpu, "s"),
            figure(f"the same, {FOLLOWERS} followers, who receive ten times as much", many_cpu, "s"),
            figure("peak memory of all four services meanwhile", [memory_mib], "MiB"),
        ),
    )


async def follow_all(made: Installation, lines: int, *, followers: int) -> float:
    """Return the seconds from the webhook until every follower has received everything."""
    due = [b"%09d" % number for number in range(lines)]
    started = time.perf_counter()
    run = await made.webhook("flood")
    await asyncio.gather(*(follow(made, run["id"], due) for _ in range(followers)))
    return time.perf_counter() - started


async def follow(made: Installation, run_id: str, due: list[bytes]) -> None:
    """Read one stream to its end and check that its lines start with the numbers in *due*."""
    seen, rest, has_begun = 0, b"", False
    async with made.http.get(f"{made.url}/api/runs/{run_id}/logs/stream") as response:
        response.raise_for_status()
        async for data in response.content.iter_any():
            *whole, rest = (rest + data).split(b'"line":"')
            if whole and not has_begun:
                has_begun, whole = True, whole[1:]
            seen = _check(whole, due, seen)
    assert _check([rest], due, seen) == len(due), "lines are missing"


def _check(pieces: list[bytes], due: list[bytes], seen: int) -> int:
    numbers = [piece[:9] for piece in pieces]
    assert numbers == due[seen : seen + len(numbers)], f"other lines than are due after {seen}"
    return seen + len(numbers)


async def docker_logs(image: str, script: str, lines: int) -> float:
    """Return the seconds from ``docker run -d`` until ``docker logs -f`` has shown everything."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        Path(folder, "main.py").write_text(script)
        name = f"bench-{time.time_ns()}"
        started = time.perf_counter()
        await _docker("run", "-d", "--name", name, "--network=none", "--log-driver=json-file", "-v", f"{folder}:/w:ro",
                      "--entrypoint", "python3", image, "-u", "/w/main.py")  # fmt: skip
        try:
            process = await asyncio.create_subprocess_exec(
                "docker", "logs", "-f", name, stdout=asyncio.subprocess.PIPE, limit=2**22
            )
            assert process.stdout is not None
            seen = 0
            while data := await process.stdout.read(2**20):
                seen += data.count(b"\n")
            await process.wait()
            assert seen == lines, (seen, lines)
            return time.perf_counter() - started
        finally:
            await _docker("rm", "-f", name)


async def _docker(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec("docker", *arguments, stdout=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0, arguments


if __name__ == "__main__":
    report(measure)
