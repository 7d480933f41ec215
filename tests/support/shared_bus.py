"""One nats-server for all tests of a worker, with a separate account for each test.

An account has its own streams and subjects, so a test sees an empty bus, and it costs a tenth of a server start. Tests
that kill the server, or need the users of an installation, start their own (``embedded_bus``).
"""

from __future__ import annotations

import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from fastflow.local.bus_users import quoted
from fastflow_contracts.bus.streams import MIB, PAYLOAD_BYTES_MAX
from tests.support.ports import free_port
from tests.support.processes import _die_with_parent

ACCOUNTS = 40
"""After this many tests a fresh server takes over, so that no server carries the streams of hundreds of tests."""
START_S = 15.0
STOP_S = 10.0

_CONFIG = """\
server_name: tests
listen: "127.0.0.1:{port}"
max_payload: {payload}
max_pending: {pending}
write_deadline: "10s"
jetstream {{ store_dir: {store}, sync_interval: "2m", max_file_store: 1PB, max_memory_store: 256MB }}
accounts {{
{accounts}
}}
"""
_ACCOUNT = '  {name} {{ jetstream: enabled, users: [{{ user: {name}, password: "{password}" }}] }}'


class SharedBus:
    """The server. It does not wait for the disk, and starts with the first account."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._servers = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._free: list[str] = []

    def account(self) -> str:
        """Return the URL of an unused account, with its administrator's credentials."""
        if not self._free:
            self.end()
            self._start()
        return self._free.pop()

    def end(self) -> None:
        """Stop the server."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _start(self) -> None:
        self._servers += 1
        folder = self._directory / f"server-{self._servers}"
        folder.mkdir(parents=True)
        port, password = free_port(), secrets.token_hex(8)
        names = [f"test{number}" for number in range(ACCOUNTS)]
        accounts = "\n".join(_ACCOUNT.format(name=name, password=password) for name in names)
        config = folder / "bus.conf"
        config.write_text(
            _CONFIG.format(
                port=port,
                payload=PAYLOAD_BYTES_MAX + MIB,
                pending=64 * MIB,
                store=quoted(str(folder / "store")),
                accounts=accounts,
            )
        )
        with (folder / "bus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).parent / "nats-server"), "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,
            )
        deadline = time.monotonic() + START_S
        while not _answers(port):
            assert self._process.poll() is None, (folder / "bus.log").read_text()
            assert time.monotonic() < deadline, f"no answer from nats-server within {START_S:g} s"
            time.sleep(0.01)
        self._free = [f"nats://{name}:{password}@127.0.0.1:{port}" for name in names]


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            return connection.recv(4) == b"INFO"
    except OSError:
        return False
