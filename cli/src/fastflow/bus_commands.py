"""The commands about the bus itself: ensure, url."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from fastflow.connection import bus_options, talk

if TYPE_CHECKING:
    from fastflow_contracts.wire import Bus


@click.group()
def bus() -> None:
    """Prepare the bus, or print its address."""


@bus.command()
@click.option("--replicas", type=click.IntRange(1, 5), default=1, show_default=True, help="Copies of every stream.")
@bus_options
def ensure(replicas: int, url: Callable[[], str]) -> None:
    """Make every stream, bucket and consumer as this version needs them; safe to repeat."""

    async def work(connection: Bus) -> None:
        from fastflow_contracts import streams

        await streams.ensure(connection.js, replicas=replicas)
        click.echo(f"{len(streams.STREAMS)} streams and {len(streams.CONSUMERS)} consumers are ready.")

    talk(url(), work)


@bus.command(name="url")
@bus_options
def print_url(url: Callable[[], str]) -> None:
    """Print the bus's address with its credentials, for any NATS client: nats -s "$(fastflow bus url)" sub 'ff.>'."""
    click.echo(url())
