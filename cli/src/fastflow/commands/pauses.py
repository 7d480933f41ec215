"""The commands that pause and resume. Options in, printed lines out."""

from __future__ import annotations

import getpass
import socket
from contextlib import suppress

import click

from fastflow.errors import BadUsage
from fastflow.remote.completion import pipeline_names
from fastflow.remote.session import FindTarget, api_options, ask
from fastflow.terminal.printer import json_option, print_json
from fastflow_api import Client
from fastflow_api.formatting import exact
from fastflow_api.shapes import Pause, Pauses


@click.command()
@click.argument("pipeline", metavar="[NAME]", required=False, shell_complete=pipeline_names)
@click.option("--reason", metavar="TEXT", help="Why, for everyone who wonders why nothing starts.")
@click.option("--by", metavar="WHO", help="Who pauses; your user name and host if you leave it out.")
@click.option("--list", "only_list", is_flag=True, help="Only list what is paused.")
@json_option
@api_options
def pause(
    pipeline: str | None, reason: str | None, by: str | None, only_list: bool, as_json: bool, target: FindTarget
) -> None:
    """Pause the pipeline NAME, or the whole installation: no new run begins.

    Runs under way go on, with their retries. Starts are accepted and wait; slots of schedules are treated as in a
    downtime (`catchup`). `fastflow resume` ends the pause.
    """
    if only_list and (pipeline or reason):
        raise BadUsage("--list takes no name and no reason.")
    if not only_list and not (reason or "").strip():
        raise BadUsage("say why: --reason TEXT.")

    async def work(client: Client) -> None:
        if only_list:
            _say(await client.pauses(), as_json=as_json)
            return
        paused = await client.pause(reason or "", pipeline=pipeline, by=_whoami() if by is None else by)
        if as_json:
            print_json(paused)
        else:
            click.echo(line(pipeline, paused))

    ask(target, work)


@click.command()
@click.argument("pipeline", metavar="[NAME]", required=False, shell_complete=pipeline_names)
@json_option
@api_options
def resume(pipeline: str | None, as_json: bool, target: FindTarget) -> None:
    """End the pause of the pipeline NAME, or of the installation: the runs that wait begin, the oldest first."""

    async def work(client: Client) -> None:
        left = await client.resume(pipeline)
        if not as_json:
            click.echo(f"{pipeline or 'The installation'} is not paused any more.")
        _say(left, as_json=as_json)

    ask(target, work)


def line(pipeline: str | None, paused: Pause) -> str:
    """``etl was paused at 2026-03-01 12:00:00 UTC by ada@desk: the database is being moved``."""
    by = f" by {paused.by}" if paused.by else ""
    return f"{pipeline or 'The installation'} was paused at {exact(paused.since)}{by}: {paused.reason}"


def _say(pauses: Pauses, *, as_json: bool) -> None:
    if as_json:
        print_json(pauses)
        return
    if pauses.installation is not None:
        click.echo(line(None, pauses.installation))
    for name, each in pauses.pipelines.items():
        click.echo(line(name, each))
    if pauses.installation is None and not pauses.pipelines:
        click.echo("Nothing is paused.", err=True)


def _whoami() -> str:
    """``user@host``; only the host where the system knows no name for the user."""
    user = ""
    with suppress(KeyError, OSError):  # no such user, as in a container
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}".removeprefix("@")[:100]
