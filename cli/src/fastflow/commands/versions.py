"""The commands about versions: versions, pin, unpin, rollback. Options in, printed lines out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import click

from fastflow.errors import NoSuchThing
from fastflow.remote.completion import pipeline_names
from fastflow.remote.finding import PREFIX_CHARACTERS_MIN, check_pipeline
from fastflow.remote.session import FindTarget, api_options, ask
from fastflow.terminal import tables
from fastflow.terminal.printer import json_option, print_json
from fastflow_api import Client, errors
from fastflow_api.shapes import PipelineVersion, PipelineVersions, VersionDifferences
from fastflow_contracts.names import check_name

HEADS: Final = ("VERSION", "DEPLOYED", "COMMIT", "AUTHOR", "RUNS", "OK", "CHANGES", "NOTE")
COMMIT_CHARACTERS: Final = 7

_name = click.argument("name", shell_complete=pipeline_names)
_reason = click.option("--reason", metavar="TEXT", default="", help="Why, for others to read.")


@click.command()
@_name
@json_option
@api_options
def versions(name: str, as_json: bool, target: FindTarget) -> None:
    """List the deployed versions of the pipeline NAME, newest first."""

    async def work(client: Client) -> None:
        found = await _about(client, name, client.versions)
        if as_json:
            print_json(found)
            return
        click.echo(table(found, datetime.now(UTC)))
        if found.why_not_newest:
            click.echo(found.why_not_newest)

    ask(target, work)


@click.command()
@_name
@click.argument("version")
@_reason
@api_options
def pin(name: str, version: str, reason: str, target: FindTarget) -> None:
    """Make VERSION (an id or its beginning) of the pipeline NAME live, and keep it live.

    What is pushed meanwhile is listed by `fastflow versions NAME`, and starts only if you choose it.
    """

    async def work(client: Client) -> None:
        found = find_version(await _about(client, name, client.versions), version)
        _say(await client.pin(name, found, reason=reason))

    ask(target, work)


@click.command()
@_name
@api_options
def unpin(name: str, target: FindTarget) -> None:
    """Remove the pin of the pipeline NAME: its newest version becomes live."""

    async def work(client: Client) -> None:
        _say(await _about(client, name, client.unpin))

    ask(target, work)


@click.command()
@_name
@_reason
@api_options
def rollback(name: str, reason: str, target: FindTarget) -> None:
    """Pin the version of the pipeline NAME that was live before the present one."""

    async def work(client: Client) -> None:
        found = await _about(client, name, client.versions)
        _say(await client.pin(name, before(found), reason=reason or "rolled back"))

    ask(target, work)


def find_version(found: PipelineVersions, wanted: str) -> str:
    """Return the id that is, or begins with, *wanted*; a whole hash stays as it is. Raises ``NoSuchThing``."""
    ids = [each.id for each in found.versions if each.id.startswith(wanted)]
    if len(wanted) >= PREFIX_CHARACTERS_MIN and len(ids) == 1:
        return ids[0]
    if len(ids) > 1:
        raise NoSuchThing(f"{len(ids)} versions start with {wanted!r}: {', '.join(ids)}; type more.")
    return wanted


def before(found: PipelineVersions) -> str:
    """Return the version that was live before the live one. Raises ``NoSuchThing``."""
    live = next((each for each in found.versions if each.is_live), None)
    if live is None or live.before is None or live.before not in {each.id for each in found.versions}:
        raise NoSuchThing(
            f"no version of {found.pipeline_name} before the live one is kept; "
            f"`fastflow versions {found.pipeline_name}` lists those that can be pinned."
        )
    return live.before


def table(found: PipelineVersions, at: datetime) -> str:
    """One line for each version."""
    rows = (
        (
            each.id,
            tables.ago(each.deployed_at, at),
            (each.commit or "")[:COMMIT_CHARACTERS],
            each.author or "",
            str(each.total_runs),
            "" if each.success_rate is None else f"{int(100 * each.success_rate)} %",
            "" if each.differences is None else changes(each.differences),
            note(found, each),
        )
        for each in found.versions
    )
    return tables.table(HEADS, rows)


def changes(given: VersionDifferences) -> str:
    """The counts of files, and the packages, in a few words."""
    files = ((len(given.added), "+"), (len(given.changed), "~"), (len(given.removed), "-"))
    words = [f"{sign}{count}" for count, sign in files if count]
    words += [str(package) for package in given.packages[:3]]
    left = len(given.packages[3:]) + given.unnamed
    return ", ".join([*words, *([f"{left} more"] if left else [])])


def note(found: PipelineVersions, version: PipelineVersion) -> str:
    """What is special about a version."""
    words = []
    if version.is_live:
        words.append("live, pinned" if found.pin is not None else "live")
    if version.was_rolled_back:
        words.append("rolled back")
    elif version.is_newest and not version.is_live:
        words.append("held back")
    return ", ".join(words)


def _say(found: PipelineVersions) -> None:
    pinned = " and pinned" if found.pin is not None else ""
    click.echo(f"version {found.live} of {found.pipeline_name} is live{pinned}.")
    if found.why_not_newest and not pinned:
        click.echo(found.why_not_newest)


async def _about(client: Client, name: str, call: Callable[[str], Awaitable[PipelineVersions]]) -> PipelineVersions:
    """Call, and suggest similar names if there is no such pipeline."""
    pipeline = check_name(name)
    try:
        return await call(pipeline)
    except errors.NotFound:
        await check_pipeline(client, pipeline)
        raise
