"""The commands about the bus itself: ensure, url."""

from __future__ import annotations

import click

from fastflow.connection import Url, bus_options, talk
from fastflow_contracts import streams
from fastflow_contracts.wire import Bus


@click.group()
def bus() -> None:
    """Prepare the bus, or print its address."""


@bus.command()
@click.option("--replicas", type=click.IntRange(1, 5), default=1, show_default=True, help="Copies of every stream.")
@bus_options
def ensure(replicas: int, url: Url) -> None:
    """Make every stream, bucket and consumer as this version needs them; safe to repeat."""

    async def work(connection: Bus) -> None:
        await streams.ensure(connection.js, replicas=replicas)
        click.echo(f"{len(streams.STREAMS)} streams and {len(streams.CONSUMERS)} consumers are ready.")

    talk(url(), work)


@bus.command(name="url")
@bus_options
def print_url(url: Url) -> None:
    """Print the bus's address with its credentials, for any NATS client: nats -s "$(fastflow bus url)" sub 'ff.>'."""
    click.echo(url())
