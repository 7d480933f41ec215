"""The command doctor: what is wrong with an installation, and what to do. Options in, printed lines out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import click

from fastflow.errors import FAILED, OK
from fastflow.remote.session import FindTarget, api_options, ask
from fastflow.terminal.printer import json_option, print_json
from fastflow_api import Client
from fastflow_api.shapes import Health, Runner


@click.command()
@json_option
@api_options
def doctor(as_json: bool, target: FindTarget) -> None:
    """Show what is wrong with an installation, and what to do. Exit code 1 if it cannot do its work."""

    async def work(client: Client) -> int:
        health, runners = await asyncio.gather(client.readiness(), client.runners())
        if as_json:
            print_json(health)
        else:
            for subject, text in lines(health, runners):
                click.echo(f"{subject:<10} {text}")
        return OK if works(health) else FAILED

    raise SystemExit(ask(target, work))


def works(health: Health) -> bool:
    """Return whether the installation can do its work: a failed part starts again, and a bad record is passed over."""
    return health.status != "unavailable" and set(health.dependencies.values()) <= {"ok"}


def lines(health: Health, runners: Sequence[Runner]) -> Iterator[tuple[str, str]]:
    """Yield each dependency with its state, what works only in part, and what each runner cannot enforce."""
    yield from health.dependencies.items()
    yield from troubles(health)
    for runner in runners:
        yield from ((runner.id, f"degraded: {part}.") for part in runner.degraded if part not in health.degraded)
        yield from ((runner.id, sentence) for sentence in runner.unenforced)


def troubles(health: Health) -> Iterator[tuple[str, str]]:
    """Yield what does not keep the installation from its work, and what to do."""
    yield from (("degraded", f"{part}.") for part in health.degraded)
    if health.unreadable:
        counts = ", ".join(f"{number} of {kind}" for kind, number in sorted(health.unreadable.items()))
        yield "unreadable", f"stored records, passed over: {counts}; `fastflow bus unreadable` lists and removes them."
