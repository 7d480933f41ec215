"""Checks the machine before ``fastflow up`` starts anything. Each error says in one sentence what to do."""

from __future__ import annotations

import os
import resource
import shutil
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fastflow.errors import CliError
from fastflow.local.nats_process import FREE_BYTES_MIN
from fastflow_contracts.bus.streams import MIB

OPEN_FILES_MIN: Final = 96
"""The bus and the services use about 60; the rest is for a few concurrent runs."""
OPEN_FILES_WANTED: Final = 4096
FILE_BYTES_MIN: Final = 64 * MIB
"""The bus must be able to write a file of this size."""
FILES_MIN: Final = 1000
"""The bus makes about 140 files and folders at its first start, and more with each of its blocks."""
CLOCK_MIN: Final = datetime(2025, 1, 1, tzinfo=UTC)
"""A correct clock cannot show an earlier time."""


class Unfit(CliError):
    """The machine lacks something essential."""


def check_machine(data_dir: Path, *, now: datetime) -> None:
    """Check the clock, the limits of this process, the loopback network, and the disk. Raises ``Unfit``."""
    check_clock(now)
    allow_open_files()
    check_file_size()
    check_loopback()
    check_space(data_dir)


def check_clock(now: datetime) -> None:
    """Check the clock: slots, certificates and every age depend on it."""
    if now < CLOCK_MIN:
        raise Unfit(f"the clock of this machine says {now:%Y-%m-%d %H:%M} UTC; set it, then start again.")


def allow_open_files() -> None:
    """Raise the soft limit on open files as far as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES_WANTED if hard == resource.RLIM_INFINITY else min(OPEN_FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES_MIN:
        raise Unfit(f"only {soft} files may be open at once, {OPEN_FILES_MIN} are needed; allow more: ulimit -n 1024")


def check_file_size() -> None:
    """Raise the limit on file sizes. The kernel kills a process that exceeds it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < FILE_BYTES_MIN:
        raise Unfit(f"a file may have only {hard // 1024} KB; allow larger ones: ulimit -f unlimited")


def check_loopback() -> None:
    """Check 127.0.0.1: bus and services use it."""
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
    """Check the free space, also for names of files: the bus stops when the disk is full."""
    free = shutil.disk_usage(data_dir).free
    if free < FREE_BYTES_MIN:
        raise Unfit(
            f"the disk of {data_dir} has {free // 1024} KB left, and {FREE_BYTES_MIN // MIB} MB are needed; free some, "
            "or name another folder with --data-dir."
        )
    left = os.statvfs(data_dir)
    if left.f_files and left.f_favail < FILES_MIN:  # some file systems have no such limit, and say 0
        raise Unfit(
            f"the disk of {data_dir} has room for {left.f_favail} more files (inodes), and {FILES_MIN} are needed; "
            "remove some, or name another folder with --data-dir."
        )
