"""What is printed about a run that was just asked for, and following it to its end."""

from __future__ import annotations

import json
from typing import Final

import click

from fastflow.errors import FAILED, OK
from fastflow.terminal import tables
from fastflow.terminal.follow import follow, recorded
from fastflow.terminal.printer import Printer, print_json
from fastflow_api import Client
from fastflow_api.shapes import Accepted, Run, Status

CALL_S: Final = 60
"""How long the server itself waits for the end of a run that it starts."""
GOES_ON: Final = "The run continues; `fastflow ps` lists it, `fastflow cancel` stops it."


def say_accepted(pipeline: str, accepted: Run | Accepted, *, as_json: bool) -> None:
    """Print that the run is queued. As JSON: the API's run, with status null before a scheduler has created it."""
    if isinstance(accepted, Run):
        if as_json:
            print_json(accepted)
        else:
            click.echo(_queued(accepted))
    elif as_json:
        print_json({"id": accepted.id, "pipeline_name": pipeline, "status": None})
    else:
        click.echo(_undecided(pipeline, accepted), err=True)


async def follow_start(client: Client, pipeline: str, accepted: Run | Accepted, *, as_json: bool) -> int:
    """Print the run's log and how it ended. Returns the exit code."""
    if isinstance(accepted, Accepted):
        click.echo(_undecided(pipeline, accepted), err=True)
        await recorded(client, accepted.id)
    elif not as_json:
        click.secho(_queued(accepted), dim=True, err=True)
    ended = await follow(client, accepted.id, Printer(as_json=as_json, states=not as_json))
    if as_json:
        print_json(ended)
    else:
        click.echo(tables.verdict(ended), err=True)
    return OK if ended.status is Status.SUCCESS else FAILED


async def say_ended(client: Client, called: Run | Accepted, *, as_json: bool) -> int:
    """Wait for the end of a run; print its result, and on stderr how it ended. Returns the exit code."""
    if isinstance(called, Accepted):
        await recorded(client, called.id)
        await client.wait(called.id)
    ended = await client.run(called.id)
    if as_json:
        print_json(ended)
    else:
        if ended.result_bytes is not None:
            click.echo(json.dumps(await client.result(ended.id), ensure_ascii=False))
        click.echo(tables.verdict(ended), err=True)
    return OK if ended.status is Status.SUCCESS else FAILED


def _queued(run: Run) -> str:
    return f"Run {tables.short(run.id)} of {run.pipeline_name} is queued."


def _undecided(pipeline: str, accepted: Accepted) -> str:
    """In the server's words: no scheduler has answered yet, or a pause holds the run."""
    return f"Run {accepted.id} of {pipeline}: {accepted.detail}"
