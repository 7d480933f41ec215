"""A scheduler and a runner on a real bus, in this process, with helpers for tests."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import fastflow_runner.app
import fastflow_runner.settings
import fastflow_scheduler.app
import fastflow_scheduler.settings
from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.direct import StoredMessage
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.ids import run_id_for_key
from fastflow_contracts.names import check_name
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.logs import CHUNK, LogReader, OutputLine
from fastflow_contracts.runs.messages import TRIGGER_TYPE, Trigger
from fastflow_contracts.runs.run import RUN, RunRecord
from tests.support.records import a_bundle, publish_pipeline

RUN_S = 120.0
"""How long a test waits for a run: environments may have to be made."""


class System:
    """Helpers for a test. ``bus`` is the test's own connection."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    async def pipeline(self, name: str, main: str, requirements: str | None = None, **spec: Any) -> None:
        """Put a pipeline on the bus."""
        files = {"main_py": main} | ({"requirements_txt": requirements} if requirements else {})
        await publish_pipeline(self.bus, name, a_bundle(**files), **spec)

    async def start(self, name: str, *, key: str | None = None, from_outside: bool = False, **trigger: Any) -> RunRef:
        """Trigger a run, as a gateway does for an operator. The same *key* gives the same run.

        *from_outside*: on the subject of programs outside, where no claim counts.
        """
        key = key or uuid.uuid4().hex
        body = messages.TRIGGER.encode(Trigger(**{"key": key, "by_operator": True} | trigger))
        pipeline = check_name(name)
        subject = subjects.trigger(pipeline) if from_outside else subjects.start(pipeline)
        await self.bus.publish(subject, body, headers={"Content-Type": TRIGGER_TYPE})
        return RunRef(pipeline, run_id_for_key(pipeline, key))

    async def until(self, ref: RunRef, wanted: Callable[[RunRecord], bool], *, within_s: float = RUN_S) -> RunRecord:
        """Return the run as soon as *wanted* holds."""
        subject = f"$KV.{subjects.RUNS}.{subjects.run_key(ref)}"
        stream = streams.bucket_stream(subjects.RUNS)
        async with asyncio.timeout(within_s), aclosing(feed(self.bus, stream, subject)) as changes:
            async for batch in changes:
                for message in batch.messages:
                    run = RUN.decode(message.data)
                    if wanted(run):
                        return run
        raise AssertionError("a feed has no end")

    async def end(self, ref: RunRef, *, within_s: float = RUN_S) -> RunRecord:
        """Return the run once it is over."""
        return await self.until(ref, lambda run: run.is_over, within_s=within_s)

    async def run(self, name: str, **trigger: Any) -> RunRecord:
        """Trigger a run and wait for its end."""
        return await self.end(await self.start(name, **trigger))

    async def first_output(self, ref: RunRef) -> None:
        """Return once some of the run's log is on the bus."""
        async with (
            asyncio.timeout(RUN_S),
            aclosing(feed(self.bus, streams.LOGS, subjects.logs_of(ref), after=0)) as log,
        ):
            async for batch in log:
                if batch.messages:
                    return

    async def lines(self, run: RunRecord) -> list[OutputLine]:
        """Return the whole log of an ended run."""
        last = max((attempt.log_sequence for attempt in run.attempts), default=0)
        found: list[OutputLine] = []
        reader = LogReader()
        if not last:
            return found
        async with aclosing(feed(self.bus, streams.LOGS, subjects.logs_of(run.ref), after=0)) as chunks:
            async for batch in chunks:
                for message in batch.messages:
                    found += reader.feed(CHUNK.decode(message.data))
                    if message.sequence >= last:
                        return found
        raise AssertionError("a feed has no end")

    async def text(self, run: RunRecord, stream: str = "stdout") -> str:
        """Return the script's output on one stream, joined."""
        return "\n".join(line.text for line in await self.lines(run) if line.stream == stream)


async def stored(bus: Bus, stream: str, subject: str) -> list[StoredMessage]:
    """Return everything that *stream* holds under *subject* now."""
    found: list[StoredMessage] = []
    async with aclosing(feed(bus, stream, subject, after=0)) as batches:
        async for batch in batches:
            found += batch.messages
            if batch.caught_up:
                break
    return found


@asynccontextmanager
async def system(
    url: str,
    data: Path,
    *,
    sandbox: str,
    runners: int = 1,
    schedulers: int = 1,
    concurrent_runs_max: int = 0,
    **settings: Any,
) -> AsyncIterator[System]:
    """Run everything between a trigger and a recorded end. *settings*: of the runners."""
    stop = asyncio.Event()
    scheduler = fastflow_scheduler.settings.SchedulerSettings(concurrent_runs_max=concurrent_runs_max)
    services: list[Callable[[Bus, Callable[[], None]], Coroutine[Any, Any, None]]] = [
        lambda bus, ready: fastflow_scheduler.app.serve(scheduler, bus, stop, ready)
    ] * schedulers
    for number in range(runners):
        runner = fastflow_runner.settings.RunnerSettings(
            runner_id=f"runner-{number}",
            sandbox=sandbox,  # type: ignore[arg-type]
            data_dir=str(data / f"runner-{number}"),
            grace_s=0,
            leave_running=False,
            **settings,
        )
        services.append(partial(_serve_runner, runner, stop))
    async with AsyncExitStack() as stack:
        buses = [await stack.enter_async_context(connect(url, name=f"test-{n}")) for n in range(len(services) + 1)]
        group = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(stop.set)
        readies = [asyncio.Event() for _ in services]
        for serve, bus, ready in zip(services, buses, readies, strict=False):
            group.create_task(serve(bus, ready.set))
        for ready in readies:
            await ready.wait()
        yield System(buses[-1])


async def _serve_runner(
    settings: fastflow_runner.settings.RunnerSettings, stop: asyncio.Event, bus: Bus, ready: Callable[[], None]
) -> None:
    await fastflow_runner.app.serve(settings, bus, stop, ready)


def as_json(text: str) -> Any:
    """Parse the output of a script."""
    return json.loads(text)
