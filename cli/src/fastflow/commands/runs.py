"""The commands about existing runs: logs, result, ps, cancel, retry. Options in, printed lines and an exit code out."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final

import click

from fastflow.errors import FAILED, OK
from fastflow.remote.completion import pipeline_names
from fastflow.remote.finding import check_pipeline, find_run
from fastflow.remote.session import FindTarget, api_options, ask
from fastflow.remote.variables import read_variables
from fastflow.terminal import tables
from fastflow.terminal.follow import follow as follow_run
from fastflow.terminal.follow import show
from fastflow.terminal.printer import Printer, json_option, print_json
from fastflow.terminal.starts import GOES_ON, follow_start, say_accepted
from fastflow_api import Client
from fastflow_api.shapes import Run, Status
from fastflow_contracts.names import check_name

CANCEL_S: Final = 15.0
"""How long ``cancel`` waits for the run to end: a script has 10 s between SIGTERM and SIGKILL."""
ACTIVE: Final = (Status.PENDING, Status.RUNNING)


@click.command()
@click.argument("wanted", metavar="RUN", shell_complete=pipeline_names)
@click.option("-f", "--follow", is_flag=True, help="Keep printing until the run is over.")
@json_option
@api_options
def logs(wanted: str, follow: bool, as_json: bool, target: FindTarget) -> None:
    """Show the log of RUN: an id, its beginning, or a pipeline's name for its newest run.

    The script's stderr goes to stderr.
    """

    async def work(client: Client) -> None:
        found = await find_run(client, wanted)
        await (follow_run if follow else show)(client, found.id, Printer(as_json=as_json, states=False))

    ask(target, work)


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Also runs that are over.")
@click.option("--pipeline", metavar="NAME", shell_complete=pipeline_names, help="Only runs of this pipeline.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Most runs to list."
)
@json_option
@api_options
def ps(everything: bool, pipeline: str | None, limit: int, as_json: bool, target: FindTarget) -> None:
    """List the waiting and running runs, newest first."""
    name = check_name(pipeline) if pipeline else None

    async def work(client: Client) -> None:
        found = await listed(client, name, limit) if everything else await active(client, name, limit)
        if name and not found:
            await _check_known(client, name)
        if as_json:
            print_json(found)
        elif found:
            click.echo(tables.runs_table(found, now=datetime.now(UTC)))
        else:
            click.echo("No runs." if everything else "No active runs; --all lists finished ones.", err=True)

    ask(target, work)


@click.command()
@click.argument("wanted", metavar="RUN", shell_complete=pipeline_names)
@api_options
def result(wanted: str, target: FindTarget) -> None:
    """Print the result of RUN as JSON: an id, its beginning, or a pipeline's name for its newest run."""

    async def work(client: Client) -> None:
        found = await find_run(client, wanted)
        click.echo(json.dumps(await client.result(found.id), ensure_ascii=False))

    ask(target, work)


@click.command()
@click.argument("wanted", metavar="RUN", shell_complete=pipeline_names)
@api_options
def cancel(wanted: str, target: FindTarget) -> None:
    """Stop RUN: an id, its beginning, or a pipeline's name for its newest run."""

    async def work(client: Client) -> int:
        run = await find_run(client, wanted)
        await client.cancel(run.id)
        try:
            run = await client.wait(run.id, timeout_s=CANCEL_S)
        except TimeoutError:
            click.echo(f"Run {tables.short(run.id)} was asked to stop and has not stopped yet.", err=True)
            return FAILED
        click.echo(f"Run {tables.short(run.id)} of {run.pipeline_name}: {tables.verdict(run)}")
        return OK

    raise SystemExit(ask(target, work))


@click.command()
@click.argument("wanted", metavar="RUN", shell_complete=pipeline_names)
@click.option("-f", "--follow", is_flag=True, help="Show the log and wait; the exit code is the run's.")
@click.option("--current", is_flag=True, help="Use the pipeline's current code instead of the code of RUN.")
@click.option("-e", "--env", "env", metavar="K=V", multiple=True, help="A variable to add or replace.")
@click.option("-p", "--parameter", "parameters", metavar="K=V", multiple=True, help="A parameter to add or replace.")
@click.option("--without", metavar="K", multiple=True, help="A variable or parameter of RUN to leave out.")
@json_option
@api_options
def retry(
    wanted: str,
    follow: bool,
    current: bool,
    env: tuple[str, ...],
    parameters: tuple[str, ...],
    without: tuple[str, ...],
    as_json: bool,
    target: FindTarget,
) -> None:
    """Start a new run like RUN: an id, its beginning, or a pipeline's name for its newest run.

    It must be over. The new run has the same event, variables and parameters, and the same code unless you give
    --current. With -e, -p and --without, those that you name are changed and all others kept.
    """
    env_vars = read_variables(env, "-e", own=os.environ.get)
    given_parameters = read_variables(parameters, "-p", own=lambda _: None)

    async def work(client: Client) -> int:
        given = await find_run(client, wanted)
        accepted = await client.retry(
            given.id,
            code="current" if current else "same",
            env_vars=env_vars,
            parameters=given_parameters,
            without=without,
            allow_undeclared=True,
        )
        if follow:
            return await follow_start(client, given.pipeline_name, accepted, as_json=as_json)
        say_accepted(given.pipeline_name, accepted, as_json=as_json)
        return OK

    raise SystemExit(ask(target, work, hint=GOES_ON if follow else None))


async def active(client: Client, pipeline: str | None, limit: int) -> list[Run]:
    """The newest waiting or running runs. A run that starts between the two answers is listed once."""
    of_each = await asyncio.gather(*(listed(client, pipeline, limit, each) for each in ACTIVE))
    found = {run.id: run for runs in of_each for run in runs}
    return sorted(found.values(), key=lambda run: run.created_at, reverse=True)[:limit]


async def listed(client: Client, pipeline: str | None, limit: int, status: Status | None = None) -> list[Run]:
    """The newest runs, in any state or in *status*."""
    async with aclosing(client.all_runs(most=limit, pipeline_name=pipeline, status=status)) as runs:
        return [run async for run in runs]


async def _check_known(client: Client, name: str) -> None:
    """Raise ``NoSuchThing`` for a pipeline that does not exist and never had a run."""
    if not (await client.runs(pipeline_name=name, limit=1)).runs:
        await check_pipeline(client, name)
