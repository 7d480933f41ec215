"""The commands about many runs at once: backfill, bulk, replay, operations. Options in, printed lines out."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import click

from fastflow.errors import FAILED, OK, BadUsage
from fastflow.remote.completion import pipeline_names
from fastflow.remote.finding import about_pipeline
from fastflow.remote.session import FindTarget, api_options, ask
from fastflow.terminal import tables
from fastflow.terminal.printer import json_option, print_json
from fastflow_api import Client
from fastflow_api.shapes import Backfill, Bulk, BulkAction, BulkFilter, Operation, Status
from fastflow_contracts.names import check_name

HEADS = ("OPERATION", "KIND", "PIPELINE", "WHEN", "STATE", "DONE", "REFUSED")
GOES_ON = "The operation goes on; `fastflow operations` shows it, and `--cancel ID` ends it."


@click.command()
@click.argument("name", shell_complete=pipeline_names)
@click.option("--schedule", metavar="ID", help="The schedule, if there are several.")
@click.option("--from", "since", metavar="DATE", required=True, help="First day or moment (UTC).")
@click.option("--to", "until", metavar="DATE", help="Last day or moment (UTC); default: now.")
@click.option("--only-missing", is_flag=True, help="Leave out slots whose run failed, too.")
@click.option("--dry-run", is_flag=True, help="Only say which slots would run.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("-f", "--follow", is_flag=True, help="Wait until all of it is over.")
@json_option
@api_options
def backfill(
    name: str,
    schedule: str | None,
    since: str,
    until: str | None,
    only_missing: bool,
    dry_run: bool,
    yes: bool,
    follow: bool,
    as_json: bool,
    target: FindTarget,
) -> None:
    """Run the slots of a schedule of the pipeline NAME in a past range, oldest first.

    Says how many these are, and asks first. The schedule is that of today. A slot whose run worked, or is
    under way, is not run again.
    """
    pipeline = check_name(name)

    async def work(client: Client) -> int:
        asked = partial(client.backfill, pipeline, since, until, schedule=schedule, only_missing=only_missing)
        async with about_pipeline(client, pipeline):
            done = await asked(dry_run=True)
        left = done.slots - done.existing
        if not as_json or not (yes or dry_run):
            click.echo(_slots(done), err=as_json)
        if not dry_run and left and not yes and not click.confirm(f"Run {left:,} slots?", err=True):
            return OK
        if not dry_run and left:
            done = await asked()
        if as_json and not follow:
            print_json(done)
        return await _say(client, done.operation, follow=follow, as_json=as_json)

    raise SystemExit(ask(target, work, hint=GOES_ON if follow else None))


@click.command()
@click.argument("action", type=click.Choice(["cancel", "retry"]))
@click.option("--pipeline", metavar="NAME", shell_complete=pipeline_names, help="Only runs of this pipeline.")
@click.option("--status", type=click.Choice([status.value for status in Status], case_sensitive=False))
@click.option("--since", metavar="DATE", help="Only runs created then (UTC) or later.")
@click.option("--until", metavar="DATE", help="Only runs created up to then.")
@click.option("--current", is_flag=True, help="Retry with the pipelines' current code.")
@click.option("--dry-run", is_flag=True, help="Only say how many match.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("-f", "--follow", is_flag=True, help="Wait until all of it is over.")
@json_option
@api_options
def bulk(
    action: str,
    pipeline: str | None,
    status: str | None,
    since: str | None,
    until: str | None,
    current: bool,
    dry_run: bool,
    yes: bool,
    follow: bool,
    as_json: bool,
    target: FindTarget,
) -> None:
    """Cancel or retry all runs that match. Says how many these are, and asks first."""
    wanted = BulkFilter(
        pipeline_name=check_name(pipeline) if pipeline else None,
        status=Status(status.upper()) if status else None,
        start_date=since,
        end_date=until,
    )
    kind: BulkAction = "cancel" if action == "cancel" else "retry"

    async def work(client: Client) -> int:
        async with about_pipeline(client, pipeline or ""):
            found = await client.bulk(kind, wanted, dry_run=True)
        if not _confirmed(found, action, dry_run=dry_run, yes=yes, as_json=as_json):
            return OK
        done = await client.bulk(kind, wanted, expect=found.matched, code="current" if current else "same")
        return await _say(client, done.operation, follow=follow, as_json=as_json)

    raise SystemExit(ask(target, work, hint=GOES_ON if follow else None))


@click.command()
@click.option("--since", metavar="DATE", required=True, help="What was started then (UTC) or later.")
@click.option("--until", metavar="DATE", help="What was started up to then.")
@click.option("--pipeline", metavar="NAME", shell_complete=pipeline_names, help="Only what started this pipeline.")
@click.option("--dry-run", is_flag=True, help="Only say how many match.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("-f", "--follow", is_flag=True, help="Wait until all of it is over.")
@json_option
@api_options
def replay(
    since: str,
    until: str | None,
    pipeline: str | None,
    dry_run: bool,
    yes: bool,
    follow: bool,
    as_json: bool,
    target: FindTarget,
) -> None:
    """Send stored inputs again: every start by API, webhook, message or hand becomes a new run of today's code."""
    wanted = BulkFilter(pipeline_name=check_name(pipeline) if pipeline else None, start_date=since, end_date=until)

    async def work(client: Client) -> int:
        async with about_pipeline(client, pipeline or ""):
            found = await client.bulk("replay", wanted, dry_run=True)
        if not _confirmed(found, "replay", dry_run=dry_run, yes=yes, as_json=as_json):
            return OK
        done = await client.bulk("replay", wanted, expect=found.matched)
        return await _say(client, done.operation, follow=follow, as_json=as_json)

    raise SystemExit(ask(target, work, hint=GOES_ON if follow else None))


@click.command()
@click.option("--cancel", "cancelled", metavar="ID", help="Cancel this operation and the runs that it started.")
@json_option
@api_options
def operations(cancelled: str | None, as_json: bool, target: FindTarget) -> None:
    """List backfills and bulk actions, newest first, or cancel one (an id or its beginning)."""

    async def work(client: Client) -> None:
        found = (await client.operations()).operations
        if cancelled is not None:
            ids = [each.id for each in found if each.id.startswith(cancelled)]
            if len(ids) != 1:
                raise BadUsage(f"{len(ids)} operations begin with {cancelled!r}; `fastflow operations` lists them.")
            found = (await client.cancel_operation(ids[0]),)
        if as_json:
            print_json(found)
        elif found:
            click.echo(_table(found))
        else:
            click.echo("No operations.", err=True)

    ask(target, work)


def _slots(found: Backfill) -> str:
    """How many slots there are, and which of them are to run."""
    lines = [f"{found.schedule} ({found.definition}): {found.slots:,} slots, {found.existing:,} have a run."]
    if found.first and found.last:
        left = found.slots - found.existing
        lines.append(f"{left:,} to run, from {found.first.isoformat()} to {found.last.isoformat()}.")
    elif found.note:
        lines.append(found.note)
    return "\n".join(lines)


def _confirmed(found: Bulk, action: str, *, dry_run: bool, yes: bool, as_json: bool) -> bool:
    """Say what matches. Returns whether to go on."""
    if dry_run and as_json:
        print_json(found)
    elif not as_json or not yes:
        parts = ", ".join(f"{count:,} of {name}" for name, count in found.by_pipeline.items())
        click.echo(f"{found.matched:,} runs to {action}{f': {parts}' if parts else '.'}", err=as_json)
    if dry_run or not found.matched:
        return False
    return yes or click.confirm(f"{action.capitalize()} {found.matched:,} runs?", err=True)


async def _say(client: Client, operation: Operation | None, *, follow: bool, as_json: bool) -> int:
    """Say which operation it is, and with *follow* how it ended."""
    if operation is None:
        return OK
    if not follow:
        if not as_json:
            click.echo(f"Operation {operation.id}; `fastflow operations` shows how far it is.")
        return OK
    ended = await client.wait_for_operation(operation.id)
    if as_json:
        print_json(ended)
    else:
        counts = f"{ended.changed:,} changed, {ended.unchanged:,} unchanged, {ended.refused:,} refused"
        click.echo(f"{ended.state}: {counts}.")
        for reason in ended.reasons:
            click.echo(f"  {reason}", err=True)
    return FAILED if ended.refused or ended.state != "done" else OK


def _table(found: tuple[Operation, ...]) -> str:
    at = datetime.now(UTC)
    rows = (
        (
            tables.short(each.id),
            each.kind,
            each.pipeline_name or "",
            tables.ago(each.created_at, at),
            each.state,
            f"{each.done:,}/{each.total:,}",
            f"{each.refused:,}",
        )
        for each in found
    )
    return tables.table(HEADS, rows)
