"""Follows a run's log and its changes until it ends. I/O; the sink decides what a line looks like."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Final, Protocol

from fastflow_api import Client, errors
from fastflow_api.shapes import LogLine, Run

LOOK_S: Final = 1.0
"""Interval between lookups of a run that no scheduler has created yet."""


class Sink(Protocol):
    """Receives log lines and changes, in order."""

    def line(self, line: LogLine) -> None: ...

    def changed(self, run: Run) -> None: ...


async def follow(client: Client, run_id: str, sink: Sink) -> Run:
    """Pass every line and every change of the run to *sink* until it ends. Returns the ended run."""
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
    """Pass the log so far to *sink*."""
    async with aclosing(client.log_lines(run_id)) as lines:
        async for line in lines:
            sink.line(line)


async def recorded(client: Client, run_id: str) -> Run:
    """Wait until a scheduler has created the run from its trigger."""
    while True:
        try:
            return await client.run(run_id)
        except errors.NotFound:
            await asyncio.sleep(LOOK_S)


async def _hand_on_lines(client: Client, run_id: str, sink: Sink) -> None:
    async with aclosing(client.follow_log(run_id)) as lines:
        async for line in lines:
            sink.line(line)
