"""A bus of three servers, each a process that can be killed and restarted on its own store."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from pathlib import Path

from fastflow.local.bus_users import config, quoted, users_in
from fastflow_contracts.bus import streams
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.permissions import ADMIN
from fastflow_contracts.errors import FastFlowError
from tests.support.ports import free_ports
from tests.support.processes import BusServer, _die_with_parent

SERVERS = 3
READY_S = 120.0

_CONFIG = """\
server_name: server-{number}
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{http}"
max_payload: 5MB
jetstream {{ store_dir: {store}, sync_interval: always, max_file_store: 24GB, max_memory_store: 256MB }}
cluster {{ name: test, listen: "127.0.0.1:{route}", routes: [{routes}] }}
{accounts}
"""


class Cluster(BusServer):
    """Call ``start`` once, then ``kill_one`` and ``start_one``."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._folder = directory
        self._users = users_in(directory / "bus.users")
        self._ports = [free_ports(3) for _ in range(SERVERS)]
        self._servers: list[Process | None] = [None] * SERVERS
        hosts = ",".join(f"nats://127.0.0.1:{ports[0]}" for ports in self._ports)
        self.url = hosts.replace("nats://", f"nats://{ADMIN}:{self._users.admin_password}@")
        self.bare_url = hosts

    async def start(self) -> str:
        """Return its URL, once all streams have their three copies."""
        for number in range(SERVERS):
            await self.start_one(number)
        async with asyncio.timeout(READY_S):
            while True:
                # At first there is no leader, and requests get no answer or an error.
                with contextlib.suppress(FastFlowError, OSError, TimeoutError, Exception):
                    async with connect(self.url, name="setup") as bus:
                        await streams.ensure(bus.js, replicas=SERVERS)
                        return self.url
                await asyncio.sleep(0.2)

    async def start_one(self, number: int) -> None:
        """Start one server, which joins the others."""
        port, http, route = self._ports[number]
        store = self._folder / f"server-{number}"
        text = _CONFIG.format(
            number=number,
            port=port,
            http=http,
            route=route,
            store=quoted(str(store)),
            routes=", ".join(f'"nats://127.0.0.1:{ports[2]}"' for ports in self._ports),
            accounts=config(self._users),
        )
        path = self._folder / f"server-{number}.conf"
        path.write_text(text)
        with (self._folder / f"server-{number}.log").open("ab") as log:
            self._servers[number] = await asyncio.create_subprocess_exec(
                *(str(Path(sys.executable).parent / "nats-server"), "-c", str(path)),
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,
            )

    async def kill_one(self, number: int) -> None:
        """Send SIGKILL."""
        server = self._servers[number]
        assert server is not None
        self.signal_one(number, signal.SIGKILL)
        await server.wait()

    def signal_one(self, number: int, what: signal.Signals) -> None:
        server = self._servers[number]
        assert server is not None
        os.kill(server.pid, what)

    async def end(self) -> None:
        for number, server in enumerate(self._servers):
            if server is not None and server.returncode is None:
                await self.kill_one(number)
