"""The commands about runs that exist: logs, ps, cancel. Options in, printed lines and an exit code out."""

from __future__ import annotations

import asyncio

import click

from fastflow.errors import FAILED, OK, CliError
from fastflow.local import bus_client
from fastflow.local.connection import Url, bus_options, talk
from fastflow.terminal import tables
from fastflow.terminal.follow import follow as follow_run
from fastflow.terminal.follow import show
from fastflow.terminal.printer import Printer, json_option, print_json
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.clock import now
from fastflow_contracts.names import check_name
from fastflow_gateway.views import records
from fastflow_gateway.views.waiting import Capacity

CANCEL_S = 15.0
"""How long ``cancel`` waits for the end: a script has 10 s between SIGTERM and SIGKILL."""


@click.command()
@click.argument("wanted", metavar="RUN")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run is over.")
@json_option
@bus_options
def logs(wanted: str, follow: bool, as_json: bool, url: Url) -> None:
    """Show the log of RUN: an id, its beginning, or a pipeline's name for its newest run.

    What the script wrote to stderr goes to stderr.
    """

    async def work(bus: Bus) -> None:
        found = await bus_client.find(bus, wanted)
        await (follow_run if follow else show)(bus, found.ref, Printer(as_json=as_json, states=False))

    talk(url(), work)


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Also runs that are over.")
@click.option("--pipeline", metavar="NAME", help="Only runs of this pipeline.")
@click.option("-n", "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most.")
@json_option
@bus_options
def ps(everything: bool, pipeline: str | None, limit: int, as_json: bool, url: Url) -> None:
    """List the runs that wait or run, newest first."""
    name = check_name(pipeline) if pipeline else None

    async def work(bus: Bus) -> None:
        runs = await bus_client.runs(bus, name)
        if name and not runs:
            await bus_client.check_pipeline(bus, name)
        found = [run for run in runs if everything or not run.is_over][:limit]
        if as_json:
            capacity = Capacity(await bus_client.runners(bus, now=now()))
            print_json([records.run(run, capacity=capacity, now=now()) for run in found])
        elif found:
            click.echo(tables.runs_table(found, now=now()))
        else:
            click.echo("No runs." if everything else "Nothing waits or runs; --all lists what is over.", err=True)

    talk(url(), work)


@click.command()
@click.argument("wanted", metavar="RUN")
@bus_options
def cancel(wanted: str, url: Url) -> None:
    """Stop RUN: an id, its beginning, or a pipeline's name for its newest run."""

    async def work(bus: Bus) -> int:
        run = await bus_client.find(bus, wanted)
        if run.is_over:
            raise CliError(f"run {tables.short(run.id)} of {run.pipeline} is already over: {run.status.value}.")
        await bus_client.cancel(bus, run.ref, "cancelled from the command line")
        try:
            async with asyncio.timeout(CANCEL_S):
                async for state in bus_client.changes(bus, run.ref):
                    run = state
        except TimeoutError:
            click.echo(f"Run {tables.short(run.id)} was asked to stop and has not stopped yet.", err=True)
            return FAILED
        click.echo(f"Run {tables.short(run.id)} of {run.pipeline}: {tables.verdict(run)}")
        return OK

    raise SystemExit(talk(url(), work))
