"""Everything but the work: runs in sandboxes that run nothing, through bus, scheduler and runner as three processes.

How fast one trigger is claimed while nothing else happens, and how many whole runs a second are carried out while
there is always something to do. Every write is on the disk before it is acknowledged (``sync_interval: always``).
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from nats.aio.msg import Msg
from tests.support.processes import BusServer, Service
from tests.support.records import a_bundle, publish_pipeline

from bench.figures import HEADER, row
from bench.machine import facts
from fastflow_contracts import messages, streams, subjects
from fastflow_contracts.ids import RunId, run_id_for_key
from fastflow_contracts.messages import TRIGGER_TYPE, Trigger
from fastflow_contracts.names import check_name
from fastflow_contracts.run import Pending, Run
from fastflow_contracts.wire import Bus, connect

ROUNDS = 200
WARM_UP = 20
AT_ONCE = 64
LOAD_S = 20.0
PIPELINE = check_name("nothing")


class ControlPlane:
    """Starts runs and sees what becomes of them. Made by ``control_plane``."""

    def __init__(self, bus: Bus, pids: dict[str, int]) -> None:
        self._bus = bus
        self.pids = pids
        self._waiting: dict[RunId, tuple[asyncio.Event, asyncio.Event]] = {}

    async def hear(self, message: Msg) -> None:
        """Take a repeated change of a run's record."""
        run: Run = messages.RUN.decode(message.data)
        claimed, over = self._waiting.get(run.id, (None, None))
        if claimed is not None and not isinstance(run.state, Pending):
            claimed.set()
        if over is not None and run.is_over:
            over.set()

    async def run(self) -> tuple[float, float]:
        """One run: seconds from the trigger until it is claimed, and until it is over."""
        key = uuid.uuid4().hex
        run_id = run_id_for_key(PIPELINE, key)
        claimed, over = self._waiting[run_id] = asyncio.Event(), asyncio.Event()
        body = messages.TRIGGER.encode(Trigger(key=key))
        started = time.perf_counter()
        await self._bus.publish(subjects.trigger(PIPELINE), body, headers={"Content-Type": TRIGGER_TYPE})
        await claimed.wait()
        claimed_s = time.perf_counter() - started
        await over.wait()
        del self._waiting[run_id]
        return claimed_s, time.perf_counter() - started


@asynccontextmanager
async def control_plane() -> AsyncIterator[ControlPlane]:
    """A bus, a scheduler and a runner, each a process; the pipeline is there."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
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
        made = ControlPlane(bus, pids)
        await bus.client.subscribe(f"ff.event.run.{PIPELINE}.*", cb=made.hear)
        yield made


async def measure(rounds: int = ROUNDS, load_s: float = LOAD_S) -> str:
    """Run it and return the table."""
    async with control_plane() as made:
        for _ in range(WARM_UP):
            await made.run()
        quiet = [await made.run() for _ in range(rounds)]
        before = {name: processor_s(pid) for name, pid in made.pids.items()}
        rates = await _loads(made, load_s)
        used_s = {name: processor_s(pid) - before[name] for name, pid in made.pids.items()}
    claimed, over = zip(*quiet, strict=True)
    return "\n".join(
        [
            f"Control plane, {rounds} runs one after the other; {facts()}",
            "",
            HEADER,
            row("trigger → claimed", claimed),
            row("trigger → final state", over),
            "",
            f"Whole runs a second, {AT_ONCE} under way at any time, each second of {load_s:g} s: median "
            f"{sorted(rates)[len(rates) // 2]}, least {min(rates)}, most {max(rates)}. Processor time of one of them: "
            + ", ".join(f"{name} {used * 1e3 / sum(rates):.1f} ms" for name, used in used_s.items())
            + ".",
        ]
    )


async def _loads(made: ControlPlane, load_s: float) -> list[int]:
    """Runs that ended in each second."""
    seconds = [0] * int(load_s)
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


def processor_s(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    print(asyncio.run(measure(*(int(each) for each in sys.argv[1:2]))))
