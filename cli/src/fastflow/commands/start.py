"""The commands that start runs: run, trigger. Options in, printed lines and an exit code out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from fastflow.errors import FAILED, OK, BadUsage, NotFound
from fastflow.local import bus_client
from fastflow.local.bus_client import Accepted
from fastflow.local.connection import Url, bus_options, talk
from fastflow.terminal import tables
from fastflow.terminal.follow import follow as follow_run
from fastflow.terminal.printer import Printer, json_option, print_json
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.subjects import trigger_token
from fastflow_contracts.clock import now
from fastflow_contracts.names import BadName, BadToken, check_name, name_of
from fastflow_contracts.runs.messages import Trigger
from fastflow_contracts.runs.run import Run, Status
from fastflow_contracts.runs.store import NoSuchRun, RunStore
from fastflow_contracts.runs.triggers import EVENT_BYTES_MAX, check_variables
from fastflow_gateway.views import records
from fastflow_gateway.views.waiting import Capacity

GOES_ON = "The run goes on; `fastflow ps` lists it, `fastflow cancel` stops it."


@click.command()
@click.argument("name")
@click.option("-e", "--env", "env", metavar="K=V", multiple=True, help="A variable; `-e K` passes your own on.")
@click.option("-p", "--parameter", "parameters", metavar="K=V", multiple=True, help="A parameter, also a variable.")
@click.option("--config", "run_config_id", metavar="ID", help="A run configuration: one of the pipeline's schedules.")
@click.option("-f", "--follow", is_flag=True, help="Show the log and wait; the exit code is the run's.")
@json_option
@bus_options
def run(
    name: str,
    env: tuple[str, ...],
    parameters: tuple[str, ...],
    run_config_id: str | None,
    follow: bool,
    as_json: bool,
    url: Url,
) -> None:
    """Start the pipeline NAME."""
    pipeline = check_name(name)
    trigger = Trigger(
        triggered_by="manual",
        env_vars=check_variables("env_vars", _variables(env, "-e", own=os.environ.get)),
        parameters=check_variables("parameters", _variables(parameters, "-p", own=lambda _: None)),
        run_config_id=run_config_id,
    )

    async def work(bus: Bus) -> int:
        accepted = await bus_client.start(bus, pipeline, trigger)
        if follow:
            return await _follow(bus, accepted, as_json=as_json)
        await _say_accepted(bus, accepted, as_json=as_json)
        return OK

    raise SystemExit(talk(url(), work, hint=GOES_ON if follow else None))


@click.command()
@click.argument("target", metavar="SUBJECT-OR-NAME")
@click.argument("data", required=False, default="")
@click.option("--id", "key", metavar="KEY", help="Idempotency key: the same key is the same run.")
@click.option("--type", "media_type", metavar="TYPE", help="Media type of the data.")
@json_option
@bus_options
def trigger(target: str, data: str, key: str | None, media_type: str | None, as_json: bool, url: Url) -> None:
    """Publish DATA (text, @FILE, or - for stdin) as it is on ff.trigger.NAME.

    The script finds it in the file that FASTFLOW_EVENT_FILE names.
    """
    try:
        pipeline = name_of(trigger_token(target)) if target.startswith("ff.") else check_name(target)
    except (BadName, BadToken) as error:
        raise BadUsage(f"{error} Triggers go to ff.trigger.<pipeline>, or name the pipeline alone.") from None
    payload = _payload(data)

    async def work(bus: Bus) -> None:
        accepted = await bus_client.publish(bus, pipeline, payload, key=key, media_type=media_type)
        await _say_accepted(bus, accepted, as_json=as_json)

    talk(url(), work)


async def _say_accepted(bus: Bus, accepted: Accepted, *, as_json: bool) -> None:
    if as_json:
        print_json(await _recorded(bus, accepted))
    elif accepted.decided:
        click.echo(_queued(accepted))
    else:
        click.echo(_undecided(accepted), err=True)


async def _follow(bus: Bus, accepted: Accepted, *, as_json: bool) -> int:
    if not accepted.decided:
        click.echo(_undecided(accepted), err=True)
    elif not as_json:
        click.secho(_queued(accepted), dim=True, err=True)
    ended = await follow_run(bus, accepted.run, Printer(as_json=as_json, states=not as_json))
    if as_json:
        print_json(_as_api(ended))
    else:
        click.echo(tables.verdict(ended), err=True)
    return OK if ended.status is Status.SUCCESS else FAILED


async def _recorded(bus: Bus, accepted: Accepted) -> Any:
    """The run as the API shows it; with no status while no scheduler has taken the trigger."""
    try:
        return _as_api((await RunStore(bus).load(accepted.run)).run)
    except NoSuchRun:
        return {"id": accepted.run.run_id, "pipeline_name": accepted.run.pipeline, "status": None}


def _as_api(run: Run) -> Any:
    return records.run(run, capacity=Capacity(), now=now())


def _queued(accepted: Accepted) -> str:
    return f"Run {tables.short(accepted.run.run_id)} of {accepted.run.pipeline} is queued."


def _undecided(accepted: Accepted) -> str:
    return (
        f"The trigger is stored, but no scheduler has answered yet; "
        f"it will become run {accepted.run.run_id} of {accepted.run.pipeline}."
    )


def _variables(pairs: Iterable[str], option: str, *, own: Callable[[str], str | None]) -> dict[str, str]:
    """``NAME=value`` pairs; a bare ``NAME`` has the value that *own* gives it."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            inherited = own(name)
            if inherited is None:
                raise BadUsage(f"{option} {pair}: write it as NAME=value.")
            value = inherited
        if not name:
            raise BadUsage(f"{option} {pair}: a name must stand before the =.")
        found[name] = value
    return found


def _payload(data: str) -> bytes:
    try:
        if data == "-":
            payload = sys.stdin.buffer.read(EVENT_BYTES_MAX + 1)
        elif data.startswith("@"):
            with Path(data[1:]).open("rb") as file:
                payload = file.read(EVENT_BYTES_MAX + 1)
        else:
            payload = data.encode()
    except OSError as error:
        raise NotFound(f"{data[1:]} cannot be read: {error.strerror}.") from None
    if len(payload) > EVENT_BYTES_MAX:
        raise BadUsage(f"the data is larger than {EVENT_BYTES_MAX:,} bytes; send a reference to it instead.")
    return payload
