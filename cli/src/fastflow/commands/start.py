"""The commands that start runs: run, trigger. Options in, printed lines and an exit code out."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from fastflow.commands.versions import find_version
from fastflow.errors import OK, BadUsage, NoSuchThing
from fastflow.remote.completion import pipeline_names
from fastflow.remote.finding import about_pipeline
from fastflow.remote.session import FindTarget, api_options, ask
from fastflow.remote.variables import read_variables
from fastflow.terminal.parameters import parameters_table
from fastflow.terminal.printer import json_option, print_json
from fastflow.terminal.starts import CALL_S, GOES_ON, follow_start, say_accepted, say_ended
from fastflow_api import Client
from fastflow_contracts.bus.subjects import trigger_token
from fastflow_contracts.names import BadName, BadToken, check_name, name_of


@click.command()
@click.argument("name", shell_complete=pipeline_names)
@click.option("-e", "--env", "env", metavar="K=V", multiple=True, help="A variable; `-e K` passes on your own.")
@click.option(
    "-p", "--parameter", "parameters", metavar="K=V", multiple=True, help="A parameter; also becomes a variable."
)
@click.option("--config", "run_config_id", metavar="ID", help="A run configuration: the id of one of its schedules.")
@click.option(
    "--version",
    metavar="ID",
    help="A kept version (id or its beginning); default: the live one.",
)
@click.option("--help-parameters", is_flag=True, help="Show what parameters NAME takes, and start nothing.")
@click.option("-f", "--follow", is_flag=True, help="Show the log and wait; the exit code is the run's.")
@click.option("-w", "--wait", is_flag=True, help="Wait and print only the result, as JSON; the exit code is the run's.")
@json_option
@api_options
def run(
    name: str,
    env: tuple[str, ...],
    parameters: tuple[str, ...],
    run_config_id: str | None,
    version: str | None,
    help_parameters: bool,
    follow: bool,
    wait: bool,
    as_json: bool,
    target: FindTarget,
) -> None:
    """Start the pipeline NAME."""
    if follow and wait:
        raise BadUsage("give --follow or --wait: one shows the log, the other one the result.")
    pipeline = check_name(name)
    env_vars = read_variables(env, "-e", own=os.environ.get)
    given = read_variables(parameters, "-p", own=lambda _: None)

    async def explain(client: Client) -> int:
        async with about_pipeline(client, pipeline):
            schema = (await client.pipeline(pipeline)).parameters
        if as_json:
            print_json(schema)
        else:
            click.echo(parameters_table(pipeline, schema))
        return OK

    if help_parameters:
        raise SystemExit(ask(target, explain))

    async def work(client: Client) -> int:
        async with about_pipeline(client, pipeline):
            chosen = find_version(await client.versions(pipeline), version) if version else None
            accepted = await client.start(
                pipeline,
                env_vars=env_vars,
                parameters=given,
                run_config_id=run_config_id,
                version=chosen,
                allow_undeclared=True,
                wait_s=CALL_S if wait else 0,
            )
        if wait:
            return await say_ended(client, accepted, as_json=as_json)
        if follow:
            return await follow_start(client, pipeline, accepted, as_json=as_json)
        say_accepted(pipeline, accepted, as_json=as_json)
        return OK

    raise SystemExit(ask(target, work, hint=GOES_ON if follow or wait else None))


@click.command()
@click.argument("subject_or_name", metavar="SUBJECT-OR-NAME", shell_complete=pipeline_names)
@click.argument("data", required=False, default="")
@click.option("--id", "key", metavar="KEY", help="Idempotency key: the same key means the same run.")
@click.option("--type", "media_type", metavar="TYPE", help="Media type of the data.")
@json_option
@api_options
def trigger(
    subject_or_name: str, data: str, key: str | None, media_type: str | None, as_json: bool, target: FindTarget
) -> None:
    """Start a pipeline with the event DATA: text, @FILE, or - for stdin.

    SUBJECT-OR-NAME is the pipeline or its subject, ff.trigger.NAME. DATA is sent unchanged.

    The script finds it in the file named by FASTFLOW_EVENT_FILE.
    """
    is_subject = subject_or_name.startswith("ff.")
    try:
        pipeline = name_of(trigger_token(subject_or_name)) if is_subject else check_name(subject_or_name)
    except (BadName, BadToken) as error:
        raise BadUsage(f"{error} Use ff.trigger.<pipeline>, or only the pipeline's name.") from None
    event = _payload(data)

    async def work(client: Client) -> None:
        async with about_pipeline(client, pipeline):
            accepted = await client.publish(pipeline, event, media_type=media_type, key=key)
        say_accepted(pipeline, accepted, as_json=as_json)

    ask(target, work)


def _payload(data: str) -> bytes:
    from fastflow_contracts.runs.triggers import EVENT_BYTES_MAX  # `run` does not need this import

    try:
        if data == "-":
            payload = sys.stdin.buffer.read(EVENT_BYTES_MAX + 1)
        elif data.startswith("@"):
            with Path(data[1:]).open("rb") as file:
                payload = file.read(EVENT_BYTES_MAX + 1)
        else:
            payload = data.encode()
    except OSError as error:
        raise NoSuchThing(f"{data[1:]} cannot be read: {error.strerror}.") from None
    if len(payload) > EVENT_BYTES_MAX:
        raise BadUsage(f"the data is larger than {EVENT_BYTES_MAX:,} bytes; send a reference to it instead.")
    return payload
