"""The commands about refused starts: skipped, redrive. Options in, printed lines and an exit code out."""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final

import click

from fastflow.errors import FAILED, OK, BadUsage, CliError, NoSuchThing
from fastflow.remote.completion import pipeline_names
from fastflow.remote.session import FindTarget, api_options, ask
from fastflow.terminal import tables
from fastflow.terminal.printer import json_option, print_json
from fastflow_api import ApiError, Client
from fastflow_api.errors import NotFound
from fastflow_api.shapes import Redriven, SkipDetail

ID_CHARACTERS: Final = 36
PREFIX_CHARACTERS_MIN: Final = 4
HEADS: Final = ("SKIP", "PIPELINE", "TRIGGER", "WHEN", "RUN", "REASON")


@click.command()
@click.option("--pipeline", metavar="NAME", shell_complete=pipeline_names, help="Only starts of this pipeline.")
@click.option("--reason", metavar="TEXT", help="Only those with this text in their reason.")
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that were started since.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Most skips to list."
)
@json_option
@api_options
def skipped(
    pipeline: str | None, reason: str | None, everything: bool, limit: int, as_json: bool, target: FindTarget
) -> None:
    """List starts that were refused, newest first.

    `fastflow redrive` starts one. With --json, the events are shown as well.
    """

    async def work(client: Client) -> None:
        is_open = None if everything else True
        async with aclosing(client.all_skips(most=limit, pipeline=pipeline, reason=reason, is_open=is_open)) as listed:
            found = [skip async for skip in listed]
        if as_json:
            print_json(found)
        elif found:
            click.echo(table(found, datetime.now(UTC)))
        else:
            click.echo("No refused starts." if everything else "No refused starts are open.", err=True)

    ask(target, work)


@click.command()
@click.argument("wanted", metavar="[SKIP]...", nargs=-1)
@click.option("--pipeline", metavar="NAME", shell_complete=pipeline_names, help="All open skips of this pipeline.")
@click.option("--reason", metavar="TEXT", help="All open skips with this text in their reason.")
@click.option("--all", "everything", is_flag=True, help="All open skips.")
@click.option("--again", is_flag=True, help="One more run of a SKIP that was started already.")
@click.option("--dry-run", is_flag=True, help="Only say how many match.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@api_options
def redrive(
    wanted: tuple[str, ...],
    pipeline: str | None,
    reason: str | None,
    everything: bool,
    again: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    target: FindTarget,
) -> None:
    """Start the messages of refused starts: each SKIP (an id or its beginning), or all that match.

    For all that match it says how many these are, and asks first. What is refused again stays a skip; then the exit
    code is 1.
    """
    by_filter = everything or pipeline is not None or reason is not None
    if bool(wanted) == by_filter:
        raise BadUsage("name skips (`fastflow skipped` lists them), or use --pipeline, --reason or --all.")
    if by_filter and again:
        raise BadUsage("--again is for skips that you name.")

    async def work(client: Client) -> int:
        if by_filter:
            found = await client.redrive_all(pipeline=pipeline, reason=reason, dry_run=True)
            if dry_run or not found.matched:
                return _say(found, dry_run=dry_run, as_json=as_json)
            if not yes and not click.confirm(f"Start {found.matched:,} messages?", err=True):
                return OK
            return _say(await _all(client, pipeline, reason, found.matched), dry_run=False, as_json=as_json)
        code = OK
        for skip in [await _find(client, text) for text in wanted]:
            if dry_run:
                click.echo(f"Would start {tables.short(skip.id or '')} of {skip.pipeline_name}.", err=as_json)
            elif not await _start(client, skip, again=again, as_json=as_json):
                code = FAILED
        return code

    raise SystemExit(ask(target, work))


def table(skips: list[SkipDetail], now: datetime) -> str:
    """One line for each refused start."""
    rows = (
        (
            tables.short(skip.id or "-"),
            skip.pipeline_name,
            skip.triggered_by,
            tables.ago(skip.at, now),
            tables.short(skip.redriven_as) if skip.redriven_as else "",
            " ".join(skip.reason.split()),
        )
        for skip in skips
    )
    return tables.table(HEADS, rows)


async def _start(client: Client, skip: SkipDetail, *, again: bool, as_json: bool) -> bool:
    """Start one, and say what became of it. Returns whether it started."""
    assert skip.id is not None
    try:
        run = await client.redrive(skip.id, again=again)
    except ApiError as error:
        if error.status is None:  # nothing answers: the others would fail as well
            raise
        click.echo(f"{tables.short(skip.id)} of {skip.pipeline_name}: refused again: {error}", err=True)
        return False
    if as_json:
        print_json({"skip": skip.id, "run": run.id})
    else:
        click.echo(f"{tables.short(skip.id)} of {skip.pipeline_name}: run {run.id}")
    return True


async def _all(client: Client, pipeline: str | None, reason: str | None, expect: int) -> Redriven:
    """Redrive all that match, over as many requests as that takes."""
    total = done = await client.redrive_all(pipeline=pipeline, reason=reason, expect=expect)
    while done.next_cursor is not None:
        done = await client.redrive_all(pipeline=pipeline, reason=reason, cursor=done.next_cursor)
        total = Redriven(
            matched=total.matched,
            started=total.started + done.started,
            refused=total.refused + done.refused,
            left=done.left,
            run_ids=total.run_ids + done.run_ids,
            reasons=tuple(dict.fromkeys(total.reasons + done.reasons)),
        )
    return total


def _say(done: Redriven, *, dry_run: bool, as_json: bool) -> int:
    if as_json:
        print_json(done)
    elif dry_run:
        click.echo(f"{done.matched:,} would be started.")
    else:
        click.echo(f"{done.started:,} started, {done.refused:,} refused again.")
        for reason in done.reasons:
            click.echo(f"  {reason}", err=True)
    return FAILED if done.refused else OK


async def _find(client: Client, text: str) -> SkipDetail:
    """The skip whose id is or starts with *text*."""
    if len(text) == ID_CHARACTERS:
        try:
            return await client.skip(text)
        except NotFound as error:
            raise NoSuchThing(f"there is no skip {text}; `fastflow skipped --all` lists them.") from error
    if len(text) < PREFIX_CHARACTERS_MIN:
        raise BadUsage(f"{text!r} is too short; type at least {PREFIX_CHARACTERS_MIN} characters of a skip's id.")
    async with aclosing(client.all_skips()) as listed:
        found = [skip async for skip in listed if (skip.id or "").startswith(text)]
    if not found:
        raise NoSuchThing(f"no skip begins with {text!r}; `fastflow skipped --all` lists them.")
    if len(found) > 1:
        raise CliError(f"{len(found)} ids of skips start with {text!r}; type more.")
    return found[0]
