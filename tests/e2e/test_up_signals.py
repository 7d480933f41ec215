"""``fastflow up`` and what happens around it: its reader dies, its terminal closes, its shell ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import pytest

from tests.support.installation import DEAF, FASTFLOW, HELLO, READY_S, STOP_S, Installation, clean

UP = [*FASTFLOW, "up", "--port", "0", "--sandbox", "process"]


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """Not started: each test starts it in its own way."""
    with Installation(tmp_path) as made:
        made.add("hello", HELLO)
        yield made
    made.await_silence()


@contextlib.contextmanager
def started(
    installation: Installation, *around: str, output: tuple[int, int] | None = None, **environ: str
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Start it inside of the command *around*; yield the process and its output once it is ready.

    *output*: its end and the reader's, if it is not a pipe.
    """
    reading, writing = output or os.pipe()
    command = [*around, *UP]
    process = subprocess.Popen(
        command, cwd=installation.folder, env=clean(environ), stdin=writing, stdout=writing, stderr=writing
    )
    os.close(writing)
    printed = os.fdopen(reading, "rb", buffering=0)
    try:
        deadline, text = time.monotonic() + READY_S, b""
        while b"Ready" not in text:
            assert process.poll() is None, text
            assert time.monotonic() < deadline, text
            text += printed.read(4096)
        yield process, printed
    finally:
        with contextlib.suppress(OSError):
            printed.close()
        if process.poll() is None:
            process.kill()
            process.wait()


def await_stopping(installation: Installation) -> None:
    """Wait until the dashboard takes no more connections."""
    address = urlsplit((installation.data_dir / "gateway.url").read_text().strip())
    deadline = time.monotonic() + STOP_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection((address.hostname or "", address.port or 0)).close()
        except OSError:
            return
        time.sleep(0.01)
    raise AssertionError("it is still running")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_without_a_reader_a_signal_stops_it_in_order(installation: Installation, number: signal.Signals) -> None:
    """As after ``| tee log`` and Ctrl-C, which ends ``tee`` first. Its last lines reach no one."""
    with started(installation) as (process, printed):
        printed.close()
        assert installation.command("run", "hello", "--follow").stdout == "Hello, world!\n"
        process.send_signal(number)
        assert process.wait(STOP_S) == 0
    assert not (installation.data_dir / "up.pid").exists()


def test_without_a_reader_a_second_signal_ends_it_at_once(installation: Installation) -> None:
    """Although a script ignores the first one, for which it would wait for an hour."""
    installation.add("deaf", DEAF)
    with started(installation, FASTFLOW_GRACE_S="3600") as (process, printed):
        printed.close()
        done = installation.command("run", "deaf", "--json")
        run_id = done.stdout.partition('"id":"')[2].partition('"')[0]
        installation.await_log(run_id, "deaf")
        process.send_signal(signal.SIGINT)
        await_stopping(installation)
        process.send_signal(signal.SIGINT)
        assert process.wait(STOP_S) == 130


def test_a_terminal_that_closes_stops_it_in_order(installation: Installation) -> None:
    """The kernel sends SIGHUP, and every write fails from then on."""
    with started(installation, "setsid", "--ctty", output=os.openpty()) as (process, printed):
        printed.close()
        assert process.wait(STOP_S) == 0
    assert not (installation.data_dir / "up.pid").exists()


def test_under_nohup_it_continues_when_the_shell_ends(installation: Installation) -> None:
    """It ignores SIGHUP and still works; other signals stop it."""
    with started(installation, "nohup") as (process, printed):
        process.send_signal(signal.SIGHUP)
        printed.close()
        assert installation.command("run", "hello", "--follow").stdout == "Hello, world!\n"
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_S) == 0
