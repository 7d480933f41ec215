"""The command doctor: what is wrong with an installation, and what to do. Options in, printed lines out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

import click

from fastflow.errors import FAILED, OK
from fastflow.remote.session import FindTarget, api_options, ask
from fastflow.terminal.printer import json_option, print_json
from fastflow.terminal.triggers import trouble
from fastflow_api import Client
from fastflow_api.shapes import Health, Pipeline, Runner
from fastflow_contracts.labels import lacking


@click.command()
@json_option
@api_options
def doctor(as_json: bool, target: FindTarget) -> None:
    """Show what is wrong with an installation, and what to do. Exit code 1 if a service cannot work, or not whole."""

    async def work(client: Client) -> int:
        health, runners, pipelines = await asyncio.gather(client.readiness(), client.runners(), client.pipelines())
        if as_json:
            print_json(health)
        else:
            found = (*rollbacks(pipelines), *unserved(pipelines, runners), *stuck(pipelines, datetime.now(UTC)))
            for subject, text in (*lines(health, runners), *found):
                click.echo(f"{subject:<10} {text}")
        return OK if is_whole(health) else FAILED

    raise SystemExit(ask(target, work))


def is_whole(health: Health) -> bool:
    """Return whether nothing is wrong, also of what a gateway that runs alone does not need itself.

    A pause is shown, and not wrong.
    """
    states = {state for name, state in health.dependencies.items() if name != "pause"}
    return health.status == "ok" and states <= {"ok"}


def lines(health: Health, runners: Sequence[Runner]) -> Iterator[tuple[str, str]]:
    """Yield each dependency with its state, then what failed lately, and what each runner cannot enforce."""
    yield from health.dependencies.items()
    yield from troubles(health)
    for runner in runners:
        yield from (("degraded", f"{runner.id}: {part}") for part in runner.degraded if part not in health.degraded)
        yield from ((runner.id, sentence) for sentence in runner.unenforced)


def rollbacks(pipelines: Iterable[Pipeline]) -> Iterator[tuple[str, str]]:
    """Yield the pipelines whose newest version was rolled back."""
    for each in pipelines:
        if each.rolled_back is not None and each.why_not_newest is not None:
            yield "rollback", f"{each.name}: {each.why_not_newest}"


def unserved(pipelines: Iterable[Pipeline], runners: Sequence[Runner]) -> Iterator[tuple[str, str]]:
    """Yield the pipelines whose runs wait because no runner has all of their labels."""
    staying = [runner.labels for runner in runners if not runner.leaving]
    for each in pipelines:
        wanted = (each.metadata or {}).get("runs_on", ())
        if wanted and all(lacking(wanted, labels) for labels in staying):
            names = ",".join(wanted)
            yield (
                "labels",
                f"{each.name}: its runs wait, because no runner has {names}: set RUNNER_LABELS={names} on one",
            )


def stuck(pipelines: Iterable[Pipeline], at: datetime) -> Iterator[tuple[str, str]]:
    """Yield the triggers that read nothing, or could not read all."""
    for each in pipelines:
        for trigger in each.triggers:
            if text := trouble(trigger, at):
                yield "trigger", f"{each.name}: {text}"


def troubles(health: Health) -> Iterator[tuple[str, str]]:
    """Yield what does not stop the work: parts that failed lately, and records that cannot be read."""
    yield from (("degraded", part) for part in health.degraded)
    if health.unreadable:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(health.unreadable.items()))
        yield "unreadable", f"{kinds}: `fastflow bus unreadable` lists and removes them"
