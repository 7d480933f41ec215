"""The commands about schedules: list, on, off. Options in, printed lines out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import click

from fastflow.errors import NoSuchThing
from fastflow.remote.completion import pipeline_names
from fastflow.remote.session import FindTarget, api_options, ask
from fastflow.terminal import schedules as shown
from fastflow.terminal import tables
from fastflow.terminal.printer import json_option, print_json
from fastflow_api import Client
from fastflow_api.shapes import Job

HEADS: Final = ("PIPELINE", "SCHEDULE", "WHEN", "NEXT", "NOTE")


@click.group(invoke_without_command=True)
@click.option("--pipeline", metavar="NAME", shell_complete=pipeline_names, help="Only schedules of this pipeline.")
@json_option
@api_options
@click.pass_context
def schedules(context: click.Context, pipeline: str | None, as_json: bool, target: FindTarget) -> None:
    """List schedules, or switch one on or off."""
    if context.invoked_subcommand is not None:
        return

    async def work(client: Client) -> None:
        jobs = [job for job in await client.jobs() if pipeline in (None, job.pipeline)]
        if as_json:
            print_json(jobs)
        elif jobs:
            click.echo(table(jobs, datetime.now(UTC)))
        else:
            click.echo("No schedules; `schedule_cron` in a pipeline.json makes one.", err=True)

    ask(target, work)


@schedules.command()
@click.argument("pipeline", shell_complete=pipeline_names)
@click.argument("schedule", required=False)
@api_options
def on(pipeline: str, schedule: str | None, target: FindTarget) -> None:
    """Switch on the schedules of PIPELINE, or only SCHEDULE.

    A schedule fires again from its next slot.
    """
    _switch(target, pipeline, schedule, enabled=True)


@schedules.command()
@click.argument("pipeline", shell_complete=pipeline_names)
@click.argument("schedule", required=False)
@api_options
def off(pipeline: str, schedule: str | None, target: FindTarget) -> None:
    """Switch off the schedules of PIPELINE, or only SCHEDULE.

    They stay off until you switch them on again; a sync does not change that.
    """
    _switch(target, pipeline, schedule, enabled=False)


def table(jobs: list[Job], at: datetime) -> str:
    """One line for each job."""
    rows = (
        (job.pipeline, job.schedule, shown.words(job), shown.due(job.next_run_time, at), job.note or "") for job in jobs
    )
    return tables.table(HEADS, rows)


def _switch(target: FindTarget, pipeline: str, schedule: str | None, *, enabled: bool) -> None:
    async def work(client: Client) -> None:
        for job in chosen(await client.jobs(), pipeline, schedule):
            after = await client.switch_job(job.id, enabled=enabled)
            due = f"; next {shown.due(after.next_run_time, datetime.now(UTC))}" if after.next_run_time else ""
            click.echo(f"{job.schedule} of {job.pipeline} is {'on' if after.enabled else 'off'}{due}.")

    ask(target, work)


def chosen(jobs: list[Job], pipeline: str, schedule: str | None) -> list[Job]:
    """The jobs of *pipeline*, or the one called *schedule*, with or without ``schedules/``. Raises ``NoSuchThing``."""
    of_it = [job for job in jobs if job.pipeline == pipeline]
    if not of_it:
        raise NoSuchThing(f"{pipeline} has no schedules; `fastflow schedules` lists all of them.")
    wanted = [job for job in of_it if schedule in (None, job.schedule, job.run_config_id)]
    if not wanted:
        names = ", ".join(job.schedule for job in of_it)
        raise NoSuchThing(f"{pipeline} has no schedule {schedule}; there are: {names}.")
    return wanted
