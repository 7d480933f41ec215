"""The commands about the bus itself: init, ensure, status, purge, unreadable, url, backup, restore."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path

import click

from fastflow.local import backup, bus_users, purge, unreadable
from fastflow.local.connection import OUTSIDE_URL_FILE, URL_FILE, Url, bus_options, talk
from fastflow.local.data_dir import write_private
from fastflow.terminal import tables
from fastflow_contracts.bus import streams
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.permissions import ADMIN
from fastflow_contracts.clock import now
from fastflow_contracts.names import check_name

UNREADABLE_HEADS = ("BUCKET", "KEY", "KIND", "REVISION")
HEADS = ("STREAM", "FULL", "MESSAGES", "COPIES")


@click.group()
def bus() -> None:
    """Prepare the bus, show its state, copy it, or print its address."""


@bus.command()
@click.option("--replicas", type=click.IntRange(1, 5), default=1, show_default=True, help="Copies of every stream.")
@click.option("--installation", metavar="NAME", default="", help="Name of this bus.  [default: random]")
@bus_options
def ensure(replicas: int, installation: str, url: Url) -> None:
    """Create the streams, buckets and consumers; safe to repeat.

    They get the settings that this version needs.
    """

    async def work(connection: Bus) -> None:
        await streams.ensure(connection.js, replicas=replicas, installation=installation)
        click.echo(f"{len(streams.STREAMS)} streams and {len(streams.CONSUMERS)} consumers are ready.")

    talk(url(), work)


@bus.command()
@bus_options
def status(url: Url) -> None:
    """Show how full each stream is, and how many copies it has."""

    async def work(connection: Bus) -> None:
        rows = []
        for stream in streams.STREAMS:
            assert stream.name is not None
            info = await connection.stream(stream.name)
            fill = info.state.bytes / (stream.max_bytes or 1)
            rows.append((stream.name, f"{fill:.1%}", f"{info.state.messages:,}", str(info.config.num_replicas or 1)))
        click.echo(tables.table(HEADS, rows))

    talk(url(), work)


@bus.command(name="purge")
@click.option("--pipeline", metavar="NAME", help="Only its runs.  [default: all]")
@click.option(
    "--hours",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="Only runs that ended longer ago. A sender may repeat a newer trigger, and that would run again.",
)
@click.option("--waiting", is_flag=True, help="Also runs that have not begun: they never will.")
@click.option("--yes", is_flag=True, help="Remove them. Without it, only show how many there are.")
@bus_options
def purge_runs(pipeline: str | None, hours: float, waiting: bool, yes: bool, url: Url) -> None:
    """Remove runs that are over, with their inputs. It works on a full bus, too: a removal needs no room."""
    name = None if pipeline is None else check_name(pipeline)

    async def work(connection: Bus) -> None:
        before = now() - timedelta(hours=hours)
        found = purge.removable(connection, ended_before=before, pipeline=name, waiting=waiting)
        runs = [stored async for stored in found]
        counts = Counter(stored.run.pipeline for stored in runs)
        click.echo(tables.table(("PIPELINE", "RUNS"), [(each, f"{count:,}") for each, count in counts.most_common()]))
        if not yes:
            click.echo(f"{len(runs):,} run(s) would be removed; repeat this with --yes to remove them.")
            return
        await purge.remove(connection, runs)
        click.echo(f"{len(runs):,} run(s) are removed.")

    talk(url(), work)


@bus.command(name="unreadable")
@click.option("--remove", is_flag=True, help="Remove them. A run among them is gone then, and its log is kept.")
@bus_options
def show_unreadable(remove: bool, url: Url) -> None:
    """List stored records that no service can read. Services pass them over.

    A damaged record stays until it is removed, written again by its owner, or too old. A newer version may read what
    this one cannot: after a downgrade, do not remove anything.
    """

    async def work(connection: Bus) -> None:
        found = await unreadable.unreadable_records(connection)
        if found:
            rows = [(each.bucket, each.key, each.kind, str(each.revision)) for each in found]
            click.echo(tables.table(UNREADABLE_HEADS, rows))
        if remove:
            click.echo(f"{await unreadable.remove(connection, found)} of {len(found)} removed.")
        elif not found:
            click.echo("Every stored record can be read.")

    talk(url(), work)


@bus.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--address", default="127.0.0.1:4222", show_default=True, help="Address of the server, for the URLs.")
@click.option("--mqtt", is_flag=True, help="Also create a user for devices on MQTT, and an account for it.")
def init(folder: Path, address: str, mqtt: bool) -> None:
    """Create a user for each service, and one for programs outside. Existing secrets are kept.

    FOLDER gets: users.conf, to include in the server's configuration; <service>.seed, for that service's
    FASTFLOW_NATS_CREDENTIALS; bus.url, the administrator's address; outside.url, for programs that start runs.
    """
    users = bus_users.users_in(folder, with_devices=mqtt)
    write_private(folder / bus_users.CONFIG, bus_users.config(users))
    write_private(folder / URL_FILE, f"nats://{ADMIN}:{users.admin_password}@{address}\n")
    write_private(folder / OUTSIDE_URL_FILE, f"nats://{bus_users.OUTSIDE}:{users.outside_password}@{address}\n")
    click.echo(f"{folder}: users.conf for the server, and one secret for each user.")


@bus.command(name="backup")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@bus_options
def back_up(folder: Path, url: Url) -> None:
    """Copy everything on the bus into FOLDER, which must be new. Services and runs continue meanwhile."""

    async def work(connection: Bus) -> None:
        await backup.backup(connection, folder, say=click.echo)

    talk(url(), work)


@bus.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--replicas", type=click.IntRange(1, 5), help="Copies of every stream.  [default: as in the backup]")
@bus_options
def restore(folder: Path, replicas: int | None, url: Url) -> None:
    """Restore a backup onto an empty bus.

    Do this before you start any service.
    """

    async def work(connection: Bus) -> None:
        await backup.restore(connection, folder, replicas=replicas, say=click.echo)

    talk(url(), work)


@bus.command(name="url")
@click.option("--outside", is_flag=True, help="The address for programs: they may start runs and follow them.")
@bus_options
def print_url(outside: bool, url: Url) -> None:
    """Print the bus's address, credentials included.

    It works with any NATS client: nats -s "$(fastflow bus url)" sub 'ff.>'.
    """
    click.echo(url(file=OUTSIDE_URL_FILE if outside else URL_FILE))
