"""The commands about runners: list, drain. Options in, printed lines out."""

from __future__ import annotations

from datetime import datetime

import click

from fastflow.local import bus_client
from fastflow.local.connection import Url, bus_options, talk
from fastflow.terminal import tables
from fastflow.terminal.printer import json_option, print_json
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.clock import now
from fastflow_contracts.runs.presence import Presence

HEADS = ("RUNNER", "HOST", "VERSION", "SANDBOX", "BUSY", "LOAD", "ENVS", "KINDS", "SINCE")


@click.group(invoke_without_command=True)
@json_option
@bus_options
@click.pass_context
def runners(context: click.Context, as_json: bool, url: Url) -> None:
    """List the runners that are alive, or let one finish and leave."""
    if context.invoked_subcommand is not None:
        return

    async def work(bus: Bus) -> None:
        found = sorted(await bus_client.runners(bus, now=now()), key=lambda presence: presence.runner)
        if as_json:
            print_json(found)
        elif found:
            click.echo(table(found, now()))
        else:
            click.echo("No runner is alive; start one with `python -m fastflow_runner`.")

    talk(url(), work)


@runners.command()
@click.argument("runner")
@bus_options
def drain(runner: str, url: Url) -> None:
    """Let RUNNER finish what it has and leave.

    It takes no more work, and stays away, however long finishing takes.
    """

    async def work(bus: Bus) -> None:
        presence = await bus_client.drain(bus, runner)
        what = f"finishes {presence.busy} run(s) and leaves" if presence.busy else "had nothing to finish and leaves"
        click.echo(f"{runner} {what}.")

    talk(url(), work)


def table(found: list[Presence], at: datetime) -> str:
    """One line for each runner, and one for each thing that its sandbox cannot enforce."""
    rows = [
        (
            each.runner,
            each.host,
            each.version,
            each.sandbox,
            f"{each.busy}/{each.slots}" + (" leaving" if each.leaving else " paused" if each.paused else ""),
            f"{each.load:.2f}",
            str(each.environments),
            ",".join(each.kinds),
            tables.duration((at - each.started_at).total_seconds()),
        )
        for each in found
    ]
    widths = [max(len(row[column]) for row in (HEADS, *rows)) for column in range(len(HEADS))]
    lines = []
    for row, presence in zip((HEADS, *rows), (None, *found), strict=True):
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        lines += [f"  {sentence}" for sentence in (presence.unenforced if presence else ())]
    return "\n".join(lines)
