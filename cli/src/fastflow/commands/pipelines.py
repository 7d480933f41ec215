"""The ``pipelines`` command: what is there, when it runs next, how it ran last. Options in, printed lines out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

import click

from fastflow.local import bus_client
from fastflow.local.connection import Url, bus_options, talk
from fastflow.terminal import tables
from fastflow.terminal.printer import json_option, print_json
from fastflow.terminal.upcoming import words
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.clock import now
from fastflow_contracts.pipelines.bundle import shown
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.runs.run import Run
from fastflow_gateway.views import jobs
from fastflow_gateway.views import records as views
from fastflow_gateway.views.jobs import KnownJob as Known
from fastflow_gateway.views.waiting import Capacity

HEADS = ("PIPELINE", "SCHEDULE", "NEXT", "LAST RUN", "NOTE")


class Line(NamedTuple):
    """One pipeline, with all that is said about it."""

    record: PipelineRecord
    schedules: tuple[Known, ...]
    last: Run | None

    def next_slot(self, at: datetime) -> datetime | None:
        """When the first of its schedules is due."""
        return min((slot for known in self.schedules for slot in jobs.next_runs(known, at, 1)), default=None)


@click.command()
@json_option
@bus_options
def pipelines(as_json: bool, url: Url) -> None:
    """List the pipelines, with their schedules, their last runs, and what is wrong with them."""

    async def work(bus: Bus) -> None:
        records = await bus_client.pipelines(bus)
        last = {run.pipeline: run for run in reversed(await bus_client.runs(bus))}
        known = await bus_client.schedules(bus, records)
        lines = [
            Line(record, tuple(each for each in known if each.job.pipeline == record.name), last.get(record.name))
            for record in records
        ]
        if as_json:
            capacity = Capacity(await bus_client.runners(bus, now=now()))
            print_json([_as_json(line, now(), capacity) for line in lines])
        elif lines:
            click.echo(table(lines, now()))
        else:
            click.echo("No pipelines; a folder with a main.py is one.", err=True)

    talk(url(), work)


def table(lines: Iterable[Line], at: datetime) -> str:
    """One line for each pipeline."""
    return tables.table(HEADS, (_row(line, at) for line in lines))


def _row(line: Line, at: datetime) -> tuple[str, ...]:
    slot = line.next_slot(at)
    return (
        shown(line.record.name),
        _schedule(line.schedules),
        f"in {tables.duration((slot - at).total_seconds())}" if slot else "",
        _last(line.last, at),
        _note(line.record),
    )


def _schedule(schedules: tuple[Known, ...]) -> str:
    if len(schedules) > 1:
        return f"{len(schedules)} schedules"
    return "".join(words(each.definition) + ("" if each.fires else ", switched off") for each in schedules)


def _last(run: Run | None, at: datetime) -> str:
    if run is None:
        return ""
    status = click.style(run.status.value, fg=tables.COLOURS[run.status])
    return f"{status} {tables.duration((at - run.created_at).total_seconds())} ago"


def _note(record: PipelineRecord) -> str:
    if record.problems:
        more = f" (and {len(record.problems) - 1} more)" if len(record.problems) > 1 else ""
        return click.style(shown(str(record.problems[0])) + more, fg="yellow")
    return "" if record.live is None or record.live.spec.enabled else "disabled"


def _as_json(line: Line, at: datetime, capacity: Capacity) -> dict[str, Any]:
    spec = line.record.live.spec if line.record.live else None
    return {
        "name": line.record.name,
        "enabled": spec.enabled if spec else None,
        "next_run_time": line.next_slot(at),
        "schedules": [jobs.job(known, at) for known in line.schedules],
        "last_run": views.run(line.last, capacity=capacity, now=at) if line.last else None,
        "problems": line.record.problems,
    }
