"""The embedded bus: one nats-server (``nats_process``) with its data, its credentials, and its address in a file.

This module does not know streams or messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from fastflow.local.bus_users import DEVICE_STORE_BYTES, OUTSIDE, quoted, users_in
from fastflow.local.bus_users import config as config_of
from fastflow.local.connection import OUTSIDE_URL_FILE
from fastflow.local.data_dir import write_private
from fastflow.local.nats_process import STOP_S, NatsProcess, PortTaken
from fastflow_contracts.bus.access.accounts import STREAMS_ACCOUNT
from fastflow_contracts.bus.access.address import with_login
from fastflow_contracts.bus.permissions import ADMIN
from fastflow_contracts.bus.streams import MIB, PAYLOAD_BYTES_MAX, STORE_BYTES_MAX

USERS = "bus.users"
ANY_PORT = -1
"""The server takes a free port itself: one that was chosen for it may be gone by then."""

# Paths are relative to the server's working folder: no character of the data folder's path is parsed.
_CONFIG = """\
server_name: fastflow
listen: "127.0.0.1:{port}"
ports_file_dir: "."
max_payload: {payload}
max_pending: {pending}
write_deadline: "10s"
ping_interval: "20s"
pid_file: "bus.pid"
{mqtt}{accounts}
jetstream {{
  store_dir: "bus"
  sync_interval: {sync}
  max_file_store: {store_bytes}
  max_memory_store: {memory_bytes}
}}
"""


@contextlib.asynccontextmanager
async def embedded_bus(
    directory: Path, *, port: int | None = None, mqtt_port: int | None = None, sync: str = "always", keep: bool = False
) -> AsyncIterator[str]:
    """Run a nats-server on loopback with its store below *directory*; yield its URL, credentials included.

    The URL is the administrator's, and is also in the file ``bus.url`` (mode 0600). The URL for programs outside is in
    ``outside.url``; the services' users are in the folder ``bus.users``.

    Args:
        directory: Created if it does not exist.
        port: None: the port of the last time if it is free, else any free port.
        mqtt_port: Also listen for devices on MQTT here; None: there are none.
        sync: ``always`` flushes to the disk before each acknowledgement; anything else is a NATS duration.
        keep: Restart the server if it ends unexpectedly.

    Raises:
        BusFailed: The server did not start. The message has its last log line.
    """
    directory.mkdir(parents=True, exist_ok=True)
    config, pid_file, url_file = directory / "bus.conf", directory / "bus.pid", directory / "bus.url"
    await _former_ended(pid_file, config)
    _move_former_streams(directory / "bus" / "jetstream")
    users = users_in(directory / USERS, with_devices=mqtt_port is not None)

    def configure(port: int) -> None:
        text = _CONFIG.format(
            port=port,
            payload=PAYLOAD_BYTES_MAX + MIB,
            pending=64 * MIB,
            accounts=config_of(users),
            mqtt="" if mqtt_port is None else f'mqtt {{ listen: "127.0.0.1:{mqtt_port}" }}\n',
            sync=sync if sync == "always" else quoted(sync),
            store_bytes=STORE_BYTES_MAX + (0 if mqtt_port is None else DEVICE_STORE_BYTES),
            memory_bytes=256 * MIB,
        )
        write_private(config, text)

    server = NatsProcess(config, directory / "bus.log")
    keeper: asyncio.Task[None] | None = None
    try:
        configure(port or _former_port(url_file) or ANY_PORT)
        try:
            port = await server.start()
        except PortTaken:
            if port:
                raise
            configure(ANY_PORT)
            port = await server.start()
        configure(port)  # for its restarts: clients come back to this port
        address = f"nats://127.0.0.1:{port}"
        url = with_login(address, ADMIN, users.admin_password)
        write_private(url_file, url + "\n")
        write_private(directory / OUTSIDE_URL_FILE, with_login(address, OUTSIDE, users.outside_password) + "\n")
        if keep:
            keeper = asyncio.create_task(server.keep(), name="bus-keeper")
        yield url
    finally:
        if keeper is not None:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
        await server.end()


def _former_port(url_file: Path) -> int | None:
    """The port of the last time, so that the addresses of clients stay valid."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if found := re.fullmatch(r"nats://\S+@127\.0\.0\.1:(\d+)", url_file.read_text().strip()):
            return int(found[1])
    return None


def _move_former_streams(store: Path) -> None:
    """Move the streams of a bus without accounts into the account that has the streams now."""
    former, now = store / "$G", store / STREAMS_ACCOUNT
    if former.is_dir() and not now.exists():
        former.rename(now)


async def _former_ended(pid_file: Path, config: Path) -> None:
    """Wait for the server of a killed parent to end: only one server may use the store."""
    try:
        pid = int(pid_file.read_text())
    except (OSError, ValueError):
        return
    deadline = asyncio.get_running_loop().time() + STOP_S
    while _runs_with(pid, config):
        if asyncio.get_running_loop().time() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            deadline += STOP_S
        await asyncio.sleep(0.02)


def _runs_with(pid: int, config: Path) -> bool:
    """Whether *pid* is a server that runs with *config*. A zombie has no arguments."""
    try:
        return os.fsencode(config.absolute()) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
