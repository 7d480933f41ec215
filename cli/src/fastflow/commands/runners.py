"""The commands about runners: list, drain. Options in, printed lines out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from fastflow.remote.session import FindTarget, api_options, ask
from fastflow.terminal import tables
from fastflow.terminal.printer import json_option, print_json
from fastflow_api import Client
from fastflow_api.shapes import Runner

HEADS = ("RUNNER", "HOST", "VERSION", "SANDBOX", "BUSY", "LOAD", "ENVS", "KINDS", "LABELS", "SINCE")


@click.group(invoke_without_command=True)
@json_option
@api_options
@click.pass_context
def runners(context: click.Context, as_json: bool, target: FindTarget) -> None:
    """List the live runners, or drain one."""
    if context.invoked_subcommand is not None:
        return

    async def work(client: Client) -> None:
        found = await client.runners()
        if as_json:
            print_json(found)
        elif found:
            click.echo(table(found, datetime.now(UTC)))
        else:
            click.echo("No runner is alive; start one with `python -m fastflow_runner`.")

    ask(target, work)


@runners.command()
@click.argument("runner")
@api_options
def drain(runner: str, target: FindTarget) -> None:
    """Drain RUNNER: it takes no new work, finishes its runs, and exits.

    That takes as long as its runs take.
    """

    async def work(client: Client) -> None:
        busy = (await client.drain_runner(runner)).busy
        what = f"finishes {busy} run(s) and leaves" if busy else "is idle and leaves"
        click.echo(f"{runner} {what}.")

    ask(target, work)


def table(found: Sequence[Runner], at: datetime) -> str:
    """One line for each runner, and one for each limit its sandbox cannot enforce."""
    rows = [
        (
            each.id,
            each.host,
            each.version,
            each.sandbox,
            f"{each.busy}/{each.slots}" + (" leaving" if each.leaving else " paused" if each.paused else ""),
            f"{each.load:.2f}",
            str(each.environments),
            ",".join(each.kinds),
            (",".join(each.labels) or "-") + (" (only)" if each.only_labelled else ""),
            tables.duration((at - each.started_at).total_seconds()),
        )
        for each in found
    ]
    lines = tables.table(HEADS, rows).split("\n")
    sentences = [()] + [(*each.unenforced, *(f"Degraded: {part}." for part in each.degraded)) for each in found]
    return "\n".join(
        each
        for line, below in zip(lines, sentences, strict=True)
        for each in (line, *(f"  {sentence}" for sentence in below))
    )
