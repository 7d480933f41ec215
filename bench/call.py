"""Calls: webhook with ``?wait=`` → the run's result, and a request on the bus → the same, beside the first line.

All run the same script, in turn, in the same installation: it prints a line and writes a result. Then again, while 200
callers wait for runs of another pipeline, which wait for their second attempt and take no slot.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
from nats.aio.client import Client as Nats

from bench.installation import KEY, Installation, installation
from bench.report import report
from bench.start import DOCKER_PAUSE_S, KINDS, METADATA, PAUSE_S, trigger_once
from bench.table import Table, Target, figure, ms

SCRIPT = """\
import os
print("first line", flush=True)
with open(os.environ["FASTFLOW_RESULT_FILE"], "w") as file:
    file.write("7")
"""
WAITING = {
    "main.py": "raise SystemExit(1)",
    "pipeline.json": json.dumps(
        {
            "webhook_key": KEY,
            "retry_attempts": 1,
            "retry_strategy": {"type": "fixed_delay", "delay": 86_400},
        }
    ),
}
PIPELINES = {"hello": {"main.py": SCRIPT, "pipeline.json": METADATA}, "waiting": WAITING}
ROUNDS = 20
WARM_UP = 3
CALLERS = 200
WAIT_S = 60
BY_LINE = (Target("ratio", 1.5),)


async def measure(rounds: int = ROUNDS, callers: int = CALLERS) -> Table:
    """Measure in Docker and in bubblewrap."""
    figures = []
    for kind in ("Docker", "bubble"):
        sandbox, settings = KINDS[kind]
        pause_s = DOCKER_PAUSE_S if kind == "Docker" else PAUSE_S
        async with installation(PIPELINES, sandbox=sandbox, settings=settings) as made:
            caller = await nats.connect((made.data / "outside.url").read_text().strip())
            alone = await _rounds(made, caller, rounds, pause_s)
            async with _waiting(made, callers):
                beside = await _rounds(made, caller, rounds, pause_s)
            await caller.close()
        for times, when in ((alone, "warm"), (beside, f"while {callers} callers wait")):
            line, over_http, on_the_bus = map(ms, times)
            name = f"{kind}: webhook"
            figures += [
                figure(f"{name} with `?wait` → result, {when}", over_http, "ms", floor=line, targets=BY_LINE),
                figure(f"{kind}: request on `ff.call` → result, {when}", on_the_bus, "ms", floor=line, targets=BY_LINE),
                figure(f"floor: {name} → first line at an SSE follower, {when}", line, "ms"),
            ]
    return Table("Call: a script that prints one line and writes a result", tuple(figures))


async def _rounds(
    made: Installation, caller: Nats, rounds: int, pause_s: float
) -> tuple[list[float], list[float], list[float]]:
    """Return the seconds to the first line, to the answer over HTTP, and to the reply on the bus."""
    line, over_http, on_the_bus = [], [], []
    for number in range(-WARM_UP, rounds):
        await asyncio.sleep(pause_s)
        first_s, _ = await trigger_once(made, "hello")
        await asyncio.sleep(pause_s)
        http_s = await _call(made)
        await asyncio.sleep(pause_s)
        bus_s = await _request(caller)
        if number >= 0:
            line.append(first_s)
            over_http.append(http_s)
            on_the_bus.append(bus_s)
    return line, over_http, on_the_bus


async def _call(made: Installation) -> float:
    started = time.perf_counter()
    async with made.http.post(f"{made.url}/api/webhooks/hello/{KEY}?wait={WAIT_S}") as response:
        answer = await response.json()
    took_s = time.perf_counter() - started
    assert (response.status, answer["result"]) == (200, 7), answer
    return took_s


async def _request(caller: Nats) -> float:
    started = time.perf_counter()
    reply = json.loads((await caller.request("ff.call.hello", b"", timeout=WAIT_S)).data)
    took_s = time.perf_counter() - started
    assert (reply["status"], reply["result"]) == ("SUCCESS", 7), reply
    return took_s


@asynccontextmanager
async def _waiting(made: Installation, callers: int) -> AsyncIterator[None]:
    """Keep *callers* waiting: each calls again when its wait is over."""

    async def wait(number: int) -> None:
        while True:
            headers = {"Idempotency-Key": f"waiting-{number}"}
            async with made.http.post(
                f"{made.url}/api/webhooks/waiting/{KEY}?wait={WAIT_S}", headers=headers
            ) as response:
                assert response.status == 202, await response.text()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(wait(number), name=f"caller-{number}") for number in range(callers)]
        while await _settled(made) < callers:
            await asyncio.sleep(1.0)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def _settled(made: Installation) -> int:
    """Return how many runs wait for their second attempt."""
    path = "/api/runs?pipeline_name=waiting&status=PENDING&limit=500"
    async with made.http.get(f"{made.url}{path}") as response:
        return sum(run["attempt"] == 2 for run in (await response.json())["runs"])


if __name__ == "__main__":
    report(measure)
