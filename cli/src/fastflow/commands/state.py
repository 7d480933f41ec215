"""The command about a pipeline's state. Options in, printed lines out."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from fastflow.errors import CliError, NoSuchThing
from fastflow.remote.completion import pipeline_names
from fastflow.remote.finding import check_pipeline
from fastflow.remote.session import FindTarget, api_options, ask
from fastflow.terminal import tables
from fastflow.terminal.printer import json_option, print_json
from fastflow_api import Client, errors
from fastflow_api.formatting import bytes_text
from fastflow_api.shapes import PipelineState
from fastflow_contracts.names import check_name

HEADS: Final = ("VERSION", "SINCE", "FILES", "SIZE", "FROM", "NOTE")


@click.command()
@click.argument("name", shell_complete=pipeline_names)
@click.option("--download", "target_file", metavar="FILE", type=click.Path(path_type=Path), help="Save as .tar.gz.")
@click.option("--version", "number", metavar="NUMBER", type=int, help="The version to download; default: the current.")
@click.option("--reset", is_flag=True, help="Empty it: the next run begins without files.")
@json_option
@api_options
def state(
    name: str, target_file: Path | None, number: int | None, reset: bool, as_json: bool, target: FindTarget
) -> None:
    """List the states of the pipeline NAME, newest first; download one, or reset it."""
    if reset and target_file is not None:
        raise click.UsageError("--reset and --download exclude each other.")
    if number is not None and target_file is None:
        raise click.UsageError("--version needs --download.")

    async def work(client: Client) -> None:
        pipeline = check_name(name)
        try:
            found = await (client.reset_state(pipeline) if reset else client.state(pipeline))
        except errors.NotFound:
            await check_pipeline(client, pipeline)
            raise
        if target_file is not None:
            await _download(client, found, number, target_file)
        elif as_json:
            print_json(found)
        elif reset:
            click.echo(f"the state of {pipeline} is empty now.")
        elif not found.versions:
            click.echo(f"No run of {pipeline} has left a state yet.", err=True)
        else:
            click.echo(table(found, datetime.now(UTC)))

    ask(target, work)


def table(found: PipelineState, at: datetime) -> str:
    """One line for each version."""
    rows = (
        (
            str(each.number),
            tables.ago(each.at, at),
            str(each.files),
            bytes_text(each.size_bytes),
            each.run_id or "reset",
            "current" if each.is_current else "",
        )
        for each in found.versions
    )
    return tables.table(HEADS, rows)


async def _download(client: Client, found: PipelineState, number: int | None, target: Path) -> None:
    if number is None:
        if not found.versions:
            raise NoSuchThing(f"{found.pipeline_name} has no state yet.")
        number = found.versions[0].number
    data = await client.download_state(found.pipeline_name, number)
    try:
        with target.open("xb") as file:
            file.write(data)
    except OSError as error:
        raise CliError(f"{target} was not written: {error.strerror}.") from error
    click.echo(f"version {number} of the state of {found.pipeline_name} is in {target}.")
