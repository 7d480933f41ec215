"""A run's log and its changes as they happen, up to the end. I/O; what a line looks like is the sink's."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Final, Protocol

from fastflow_api import Client, errors
from fastflow_api.shapes import LogLine, Run

LOOK_S: Final = 1.0
"""Between two looks for a run that no scheduler has taken yet."""


class Sink(Protocol):
    """Takes what is followed, in order."""

    def line(self, line: LogLine) -> None: ...

    def changed(self, run: Run) -> None: ...


async def follow(client: Client, run_id: str, sink: Sink) -> Run:
    """Hand every line and every change of the run to *sink* until it is over; return the ended run."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_hand_on_lines(client, run_id, sink), name="log")
        last: Run | None = None
        async with aclosing(client.follow_run(run_id)) as states:
            async for run in states:
                last = run
                if run.finished_at is None:
                    sink.changed(run)
    assert last is not None, "a stream of a run begins with the run"
    return last


async def show(client: Client, run_id: str, sink: Sink) -> None:
    """Hand on the log as it is now."""
    async with aclosing(client.log_lines(run_id)) as lines:
        async for line in lines:
            sink.line(line)


async def recorded(client: Client, run_id: str) -> Run:
    """Wait until a scheduler has taken the trigger of this run."""
    while True:
        try:
            return await client.run(run_id)
        except errors.NotFound:
            await asyncio.sleep(LOOK_S)


async def _hand_on_lines(client: Client, run_id: str, sink: Sink) -> None:
    async with aclosing(client.follow_log(run_id)) as lines:
        async for line in lines:
            sink.line(line)
