"""What a machine must offer before ``fastflow up`` starts anything. Each check says in one sentence what to do."""

from __future__ import annotations

import resource
import shutil
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fastflow.errors import CliError
from fastflow.local.nats_server import FREE_BYTES_MIN
from fastflow_contracts.bus.streams import MIB

OPEN_FILES_MIN: Final = 96
"""The bus and the services take some 60; the rest is for a few runs at once."""
OPEN_FILES_WANTED: Final = 4096
FILE_BYTES_MIN: Final = 64 * MIB
"""Largest file that the bus must be able to write."""
CLOCK_MIN: Final = datetime(2025, 1, 1, tzinfo=UTC)
"""No clock that is right can say less."""


class Unfit(CliError):
    """This machine lacks something that everything rests on."""


def check_machine(data_dir: Path, *, now: datetime) -> None:
    """Look at the clock, the limits of this process, the loopback network, and the disk. Raises ``Unfit``."""
    check_clock(now)
    allow_open_files()
    check_file_size()
    check_loopback()
    check_space(data_dir)


def check_clock(now: datetime) -> None:
    """Slots, ends of certificates and the age of everything rest on the clock."""
    if now < CLOCK_MIN:
        raise Unfit(f"the clock of this machine says {now:%Y-%m-%d %H:%M} UTC; set it, then start again.")


def allow_open_files() -> None:
    """Raise the soft limit as far as it is ours to raise."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES_WANTED if hard == resource.RLIM_INFINITY else min(OPEN_FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES_MIN:
        raise Unfit(f"only {soft} files may be open at once, {OPEN_FILES_MIN} are needed; allow more: ulimit -n 1024")


def check_file_size() -> None:
    """A process that writes more into one file than it may is killed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < FILE_BYTES_MIN:
        raise Unfit(f"a file may have only {hard // 1024} KB; allow larger ones: ulimit -f unlimited")


def check_loopback() -> None:
    """Bus and services speak over 127.0.0.1."""
    with socket.socket() as listener, socket.socket() as caller:
        try:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            caller.settimeout(1)
            caller.connect(listener.getsockname())
        except OSError as error:
            raise Unfit(
                f"127.0.0.1 cannot be reached ({error.strerror or error}); bring the loopback network up (as root: "
                "ip link set lo up), then start again."
            ) from None


def check_space(data_dir: Path) -> None:
    """The bus writes through to the disk, and stops at one that is full."""
    free = shutil.disk_usage(data_dir).free
    if free < FREE_BYTES_MIN:
        raise Unfit(
            f"the disk of {data_dir} has {free // 1024} KB left, and {FREE_BYTES_MIN // MIB} MB are needed; free some, "
            "or name another folder with --data-dir."
        )
