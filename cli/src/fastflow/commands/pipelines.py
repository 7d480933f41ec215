"""The ``pipelines`` command: each pipeline with its next and its last run. Options in, printed lines out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import click

from fastflow.remote.session import FindTarget, api_options, ask
from fastflow.terminal import schedules, tables
from fastflow.terminal.printer import json_option, print_json
from fastflow_api import Client, errors
from fastflow_api.shapes import Job, Pipeline, Run
from fastflow_contracts.pipelines.folder.bundle import shown

HEADS: Final = ("PIPELINE", "SCHEDULE", "NEXT", "LAST RUN", "NOTE")
AT_ONCE: Final = 8
"""Concurrent requests for last runs."""


class Line(NamedTuple):
    """One pipeline and its jobs."""

    pipeline: Pipeline
    jobs: tuple[Job, ...]

    @property
    def next_slot(self) -> datetime | None:
        """When the next of its schedules is due."""
        return min((job.next_run_time for job in self.jobs if job.next_run_time), default=None)


@click.command()
@json_option
@api_options
def pipelines(as_json: bool, target: FindTarget) -> None:
    """List the pipelines with their schedules, last runs and problems."""

    async def work(client: Client) -> None:
        listed, jobs = await asyncio.gather(client.pipelines(), client.jobs())
        lines = [Line(each, tuple(job for job in jobs if job.pipeline == each.name)) for each in listed]
        if as_json:
            last_runs = await _last_runs(client, listed)
            print_json([_as_json(line, last_runs.get(line.pipeline.name)) for line in lines])
        elif lines:
            click.echo(table(lines, datetime.now(UTC)))
        else:
            click.echo("No pipelines; a folder with a main.py is one.", err=True)

    ask(target, work)


def table(lines: Iterable[Line], at: datetime) -> str:
    """One line for each pipeline."""
    return tables.table(HEADS, (_row(line, at) for line in lines))


def _row(line: Line, at: datetime) -> tuple[str, ...]:
    return (
        shown(line.pipeline.name),
        ", ".join(filter(None, [_schedule(line.jobs), _triggers(line.pipeline)])),
        schedules.due(line.next_slot, at),
        _last(line.pipeline, at),
        _note(line.pipeline),
    )


def _schedule(jobs: tuple[Job, ...]) -> str:
    if len(jobs) > 1:
        return f"{len(jobs)} schedules"
    return "".join(schedules.words(job) + ("" if job.enabled else ", switched off") for job in jobs)


def _triggers(pipeline: Pipeline) -> str:
    if len(pipeline.triggers) > 1:
        return f"{len(pipeline.triggers)} triggers"
    return "".join(f"on {shown(each.subject)}" + ("" if each.enabled else ", disabled") for each in pipeline.triggers)


def _last(pipeline: Pipeline, at: datetime) -> str:
    if not pipeline.last_runs:
        return ""
    run = pipeline.last_runs[0]
    status = click.style(run.status.value, fg=tables.COLOURS[run.status])
    return f"{status} {tables.ago(run.created_at, at)}"


def _note(pipeline: Pipeline) -> str:
    if pipeline.problems:
        more = f" (and {len(pipeline.problems) - 1} more)" if len(pipeline.problems) > 1 else ""
        return click.style(shown(str(pipeline.problems[0])) + more, fg="yellow")
    for trigger in pipeline.triggers:
        if trigger.problem:
            return click.style(f"trigger {shown(trigger.id)}: {shown(trigger.problem)}", fg="yellow")
    return "" if pipeline.enabled else "disabled"


async def _last_runs(client: Client, listed: Iterable[Pipeline]) -> dict[str, Run]:
    room = asyncio.Semaphore(AT_ONCE)

    async def asked(pipeline: Pipeline) -> tuple[str, Run | None]:
        async with room:
            try:
                return pipeline.name, await client.run(pipeline.last_runs[0].id)
            except errors.NotFound:
                return pipeline.name, None  # removed in the meantime

    found = await asyncio.gather(*(asked(pipeline) for pipeline in listed if pipeline.last_runs))
    return {name: run for name, run in found if run is not None}


def _as_json(line: Line, last_run: Run | None) -> dict[str, Any]:
    return {
        "name": line.pipeline.name,
        "enabled": line.pipeline.enabled if line.pipeline.metadata is not None else None,
        "next_run_time": line.next_slot,
        "schedules": line.jobs,
        "triggers": line.pipeline.triggers,
        "last_run": last_run,
        "problems": line.pipeline.problems,
    }
