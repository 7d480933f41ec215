"""The commands about runs: run, logs, ps, cancel, trigger. Options in, printed lines and an exit code out."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fastflow.connection import bus_options, talk
from fastflow.errors import FAILED, OK, BadUsage, CliError, NotFound

if TYPE_CHECKING:
    from fastflow.client import Accepted
    from fastflow_contracts.run import Run
    from fastflow_contracts.wire import Bus

CANCEL_S = 15.0
"""How long ``cancel`` waits for the end: a script has 10 s between SIGTERM and SIGKILL."""
EVENT_BYTES_MAX = 1024 * 1024

Url = Callable[[], str]
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")


@click.command()
@click.argument("name")
@click.option("-e", "--env", "env", metavar="K=V", multiple=True, help="A variable; `-e K` passes your own on.")
@click.option("-p", "--parameter", "parameters", metavar="K=V", multiple=True, help="A parameter, also a variable.")
@click.option("--config", "run_config_id", metavar="ID", help="A run configuration: one of the pipeline's schedules.")
@click.option("-f", "--follow", is_flag=True, help="Show the log and wait; the exit code is the run's.")
@as_json
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
    env_vars = _variables(env, "-e", own=os.environ.get)
    given = _variables(parameters, "-p", own=lambda _: None)
    from fastflow import client
    from fastflow_contracts.messages import Trigger
    from fastflow_contracts.names import check_name
    from fastflow_contracts.triggers import check_variables

    pipeline = check_name(name)
    trigger = Trigger(
        triggered_by="manual",
        env_vars=check_variables("env_vars", env_vars),
        parameters=check_variables("parameters", given),
        run_config_id=run_config_id,
    )

    async def work(bus: Bus) -> int:
        accepted = await client.start(bus, pipeline, trigger)
        if follow:
            return await _follow(bus, accepted, as_json=as_json)
        await _say_accepted(bus, accepted, as_json=as_json)
        return OK

    raise SystemExit(talk(url(), work, hint="The run goes on; `fastflow ps` lists it, `fastflow cancel` stops it."))


@click.command()
@click.argument("wanted", metavar="RUN")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run is over.")
@as_json
@bus_options
def logs(wanted: str, follow: bool, as_json: bool, url: Url) -> None:
    """Show the log of RUN: an id, its beginning, or a pipeline's name for its newest run.

    What the script wrote to stderr goes to stderr.
    """
    from fastflow import client
    from fastflow.follow import follow as follow_run
    from fastflow.follow import show
    from fastflow.printer import Printer

    async def work(bus: Bus) -> None:
        found = await client.find(bus, wanted)
        sink = Printer(as_json=as_json, states=False)
        await (follow_run if follow else show)(bus, found.ref, sink)

    talk(url(), work)


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Also runs that are over.")
@click.option("--pipeline", metavar="NAME", help="Only runs of this pipeline.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="The newest so many."
)
@as_json
@bus_options
def ps(everything: bool, pipeline: str | None, limit: int, as_json: bool, url: Url) -> None:
    """List the runs that wait or run, newest first."""
    from fastflow import client, output
    from fastflow_contracts.names import check_name
    from fastflow_contracts.service import now
    from fastflow_gateway import views

    name = check_name(pipeline) if pipeline else None

    async def work(bus: Bus) -> None:
        found = [run for run in await client.runs(bus, name) if everything or not run.is_over][:limit]
        if as_json:
            alive = await client.runners(bus, now=now())
            _print_json([views.run(run, runners=alive, now=now()) for run in found])
        elif found:
            click.echo(output.runs_table(found, now=now()))
        else:
            click.echo("No runs." if everything else "Nothing waits or runs; --all lists what is over.", err=True)

    talk(url(), work)


@click.command()
@click.argument("wanted", metavar="RUN")
@bus_options
def cancel(wanted: str, url: Url) -> None:
    """Stop RUN: an id, its beginning, or a pipeline's name for its newest run."""
    from fastflow import client, output

    async def work(bus: Bus) -> int:
        run = await client.find(bus, wanted)
        if run.is_over:
            raise CliError(f"run {output.short(run.id)} of {run.pipeline} is already over: {run.status.value}.")
        await client.cancel(bus, run.ref, "cancelled from the command line")
        try:
            async with asyncio.timeout(CANCEL_S):
                async for state in client.changes(bus, run.ref):
                    run = state
        except TimeoutError:
            click.echo(f"Run {output.short(run.id)} was asked to stop and has not stopped yet.", err=True)
            return FAILED
        click.echo(f"Run {output.short(run.id)} of {run.pipeline}: {output.verdict(run)}")
        return OK

    raise SystemExit(talk(url(), work))


@click.command()
@click.argument("target", metavar="SUBJECT-OR-NAME")
@click.argument("data", required=False, default="")
@click.option("--id", "key", metavar="KEY", help="Idempotency key: the same key is the same run.")
@click.option("--type", "media_type", metavar="TYPE", help="Media type of the data.")
@as_json
@bus_options
def trigger(target: str, data: str, key: str | None, media_type: str | None, as_json: bool, url: Url) -> None:
    """Publish DATA (text, @FILE, or - for stdin) as it is on ff.trigger.NAME.

    The script finds it in the file that FASTFLOW_EVENT_FILE names.
    """
    from fastflow import client
    from fastflow_contracts.names import BadName, BadToken, check_name, name_of
    from fastflow_contracts.subjects import trigger_token

    try:
        pipeline = name_of(trigger_token(target)) if target.startswith("ff.") else check_name(target)
    except (BadName, BadToken) as error:
        raise BadUsage(f"{error} Triggers go to ff.trigger.<pipeline>, or name the pipeline alone.") from None
    payload = _payload(data)

    async def work(bus: Bus) -> None:
        accepted = await client.publish(bus, pipeline, payload, key=key, media_type=media_type)
        await _say_accepted(bus, accepted, as_json=as_json)

    talk(url(), work)


async def _say_accepted(bus: Bus, accepted: Accepted, *, as_json: bool) -> None:
    if as_json:
        _print_json(await _as_api(bus, accepted))
    elif accepted.decided:
        click.echo(_queued(accepted))
    else:
        click.echo(_undecided(accepted), err=True)


async def _follow(bus: Bus, accepted: Accepted, *, as_json: bool) -> int:
    from fastflow import output
    from fastflow.follow import follow
    from fastflow.printer import Printer
    from fastflow_contracts.run import Status

    if not accepted.decided:
        click.echo(_undecided(accepted), err=True)
    elif not as_json:
        click.secho(_queued(accepted), dim=True, err=True)
    ended = await follow(bus, accepted.run, Printer(as_json=as_json, states=not as_json))
    if as_json:
        _print_json(_api(ended))
    else:
        click.echo(output.verdict(ended), err=True)
    return OK if ended.status is Status.SUCCESS else FAILED


async def _as_api(bus: Bus, accepted: Accepted) -> Any:
    from fastflow_contracts.runs import NoSuchRun, RunStore

    try:
        return _api((await RunStore(bus).load(accepted.run)).run)
    except NoSuchRun:
        return {"id": accepted.run.run_id, "pipeline_name": accepted.run.pipeline, "status": None}


def _api(run: Run) -> Any:
    from fastflow_contracts.service import now
    from fastflow_gateway import views

    return views.run(run, runners=(), now=now())


def _queued(accepted: Accepted) -> str:
    from fastflow import output

    return f"Run {output.short(accepted.run.run_id)} of {accepted.run.pipeline} is queued."


def _undecided(accepted: Accepted) -> str:
    return (
        f"The trigger is stored, but no scheduler has answered yet; "
        f"it will become run {accepted.run.run_id} of {accepted.run.pipeline}."
    )


def _variables(pairs: Iterable[str], option: str, *, own: Callable[[str], str | None]) -> dict[str, str]:
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


def _print_json(value: Any) -> None:
    import msgspec

    click.echo(msgspec.json.encode(value))
