"""The control plane without work: runs in empty sandboxes, through bus, scheduler and runner as three processes.

It measures how fast one trigger is claimed on an idle system, and how many whole runs per second complete under
constant load: on an empty bus, and on one with 100,000 past runs. Every write is on disk before it is acknowledged
(``sync_interval: always``); only the past is written faster.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from nats.aio.msg import Msg
from tests.support.processes import BusServer, Service
from tests.support.records import a_bundle, publish_pipeline

from bench.machine import cpu_s
from bench.reads import fill
from bench.report import report
from bench.table import Table, Target, figure, ms
from fastflow.local.nats_server import embedded_bus
from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.ids import RunId, run_id_for_key
from fastflow_contracts.names import check_name
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.messages import TRIGGER_TYPE, Trigger
from fastflow_contracts.runs.run import RUN, Pending, RunRecord

ROUNDS = 200
WARM_UP = 20
AT_ONCE = 64
LOAD_S = 20
PAST = 100_000
LOOK_S = 0.5
PIPELINE = check_name("nothing")


class ControlPlane:
    """Starts runs and follows them. ``control_plane`` creates it."""

    def __init__(self, bus: Bus, pids: dict[str, int]) -> None:
        self.bus = bus
        self.pids = pids
        self._waiting: dict[RunId, tuple[asyncio.Event, asyncio.Event]] = {}

    async def hear(self, message: Msg) -> None:
        """Handle a repeated change of a run's record."""
        run: RunRecord = RUN.decode(message.data)
        claimed, over = self._waiting.get(run.id, (None, None))
        if claimed is not None and not isinstance(run.state, Pending):
            claimed.set()
        if over is not None and run.is_over:
            over.set()

    async def run(self) -> tuple[float, float]:
        """Run once; return the seconds from the trigger until it is claimed, and until it is over."""
        key = uuid.uuid4().hex
        run_id = run_id_for_key(PIPELINE, key)
        claimed, over = self._waiting[run_id] = asyncio.Event(), asyncio.Event()
        body = messages.TRIGGER.encode(Trigger(key=key))
        started = time.perf_counter()
        await self.bus.publish(subjects.start(PIPELINE), body, headers={"Content-Type": TRIGGER_TYPE})
        await claimed.wait()
        claimed_s = time.perf_counter() - started
        await over.wait()
        del self._waiting[run_id]
        return claimed_s, time.perf_counter() - started


@asynccontextmanager
async def control_plane(past: int = 0) -> AsyncIterator[ControlPlane]:
    """Start a bus with *past* runs and a live pipeline, a scheduler and a runner, each a process."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if past:
            async with embedded_bus(folder / "bus", sync="2m") as url, connect(url, name="bench") as bus:
                await streams.ensure(bus.js)
                await fill(bus, past)
        server = BusServer(folder / "bus")
        url = await server.start()
        stack.push_async_callback(server.end)
        bus = await stack.enter_async_context(connect(url, name="bench"))
        await streams.ensure(bus.js)
        await publish_pipeline(bus, PIPELINE, a_bundle(main_py="print()"))
        own = {"FASTFLOW_SANDBOX": "dummy", "RUNNER_SLOTS": str(AT_ONCE), "FASTFLOW_DATA_DIR": str(folder / "data")}
        pids = {"bus": int((folder / "bus" / "bus.pid").read_text())}
        for name, settings in (("scheduler", dict[str, str]()), ("runner", own)):
            common = {"FASTFLOW_NATS_URL": url, "FASTFLOW_NATS_CREDENTIALS": server.credentials(name)}
            service = Service(name, common | settings | {"LOG_LEVEL": "INFO"})
            await service.start()
            stack.push_async_callback(service.terminate)
            pids[name] = service.pid
        await _caught_up(bus)
        made = ControlPlane(bus, pids)
        await bus.client.subscribe(f"ff.event.run.{PIPELINE}.*", cb=made.hear)
        for _ in range(WARM_UP):
            await made.run()
        yield made


async def _caught_up(bus: Bus) -> None:
    """Wait until the scheduler has read all past runs: their followups happened long ago."""
    stream = streams.bucket_stream(subjects.RUNS)
    while True:
        consumer = await bus.js.consumer_info(stream, streams.SCHEDULER)
        if not consumer.num_pending and not consumer.num_ack_pending:
            return
        await asyncio.sleep(LOOK_S)


async def measure(rounds: int = ROUNDS, past: int = PAST) -> Table:
    """Measure both."""
    async with control_plane() as made:
        quiet = [await made.run() for _ in range(rounds)]
        before = {name: cpu_s(pid) for name, pid in made.pids.items()}
        rates = await _loads(made, LOAD_S)
        used_ms = {name: 1e3 * (cpu_s(pid) - before[name]) / sum(rates) for name, pid in made.pids.items()}
    async with control_plane(past) as made:
        rates_late = await _loads(made, LOAD_S)
    claimed, over = zip(*quiet, strict=True)
    at_least = (Target("median", 450, least=True),)
    return Table(
        "Control plane: sandboxes that run nothing",
        (
            figure("trigger → claimed", ms(claimed), "ms", targets=(Target("median", 10),)),
            figure("trigger → final state", ms(over), "ms"),
            figure(f"whole runs a second, {AT_ONCE} under way, each second of {LOAD_S}", rates, "/s", targets=at_least),
            figure(f"the same after {past:,} runs", rates_late, "/s", floor=rates, targets=at_least),
            *(figure(f"processor time of one run: {name}", [used], "ms") for name, used in used_ms.items()),
        ),
    )


async def _loads(made: ControlPlane, load_s: int) -> list[int]:
    """Return how many runs ended in each second."""
    seconds = [0] * load_s
    begun = time.perf_counter()

    async def one_after_the_other() -> None:
        while (passed := time.perf_counter() - begun) < len(seconds):
            await made.run()
            passed = time.perf_counter() - begun
            if passed < len(seconds):
                seconds[int(passed)] += 1

    async with asyncio.TaskGroup() as group:
        for number in range(AT_ONCE):
            group.create_task(one_after_the_other(), name=f"load-{number}")
    return seconds


if __name__ == "__main__":
    report(measure)
