"""Follows a run's log and its changes until it ends. I/O; the sink decides what a line looks like."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Final, Protocol

from fastflow_api import Client, errors
from fastflow_api.shapes import LogLine, PartialLine, Run

LOOK_S: Final = 1.0
"""Interval between lookups of a run that no scheduler has created yet."""


class Sink(Protocol):
    """Receives the log and changes, in order."""

    def part(self, part: LogLine | PartialLine) -> None: ...

    def close(self) -> None: ...

    def changed(self, run: Run) -> None: ...


async def follow(client: Client, run_id: str, sink: Sink) -> Run:
    """Pass the log, as it is written, and every change of the run to *sink* until it ends. Returns the ended run."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_hand_on_text(client, run_id, sink), name="log")
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
            sink.part(line)


async def recorded(client: Client, run_id: str) -> Run:
    """Wait until a scheduler has created the run from its trigger."""
    while True:
        try:
            return await client.run(run_id)
        except errors.NotFound:
            await asyncio.sleep(LOOK_S)


async def _hand_on_text(client: Client, run_id: str, sink: Sink) -> None:
    async with aclosing(client.follow_text(run_id)) as parts:
        async for part in parts:
            sink.part(part)
    sink.close()
