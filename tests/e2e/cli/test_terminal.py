"""Pipes, colours, help and Ctrl-C."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.installation import FASTFLOW, Installation, clean


@pytest.mark.parametrize("arguments", [["run", "sensor_report", "-f"], ["logs", "sensor_report"], ["ps", "-a"]])
def test_a_reader_that_stops_early_is_not_an_error(there: Installation, arguments: list[str]) -> None:
    """As in ``fastflow logs x | head``: the command ends without a message."""
    assert there.command("run", "sensor_report", "-f").returncode == 0
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing) as closed:
        done = subprocess.run(
            [*FASTFLOW, *arguments],
            cwd=there.folder,
            env=clean({}),
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=30,
        )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert done.returncode == 1


def test_colour_is_for_terminals_that_want_it(there: Installation) -> None:
    """None in a pipe; none on a terminal with NO_COLOR."""
    there.command("run", "failing", "-f")
    assert "\x1b[" not in there.command("ps", "-a").stdout
    assert "\x1b[" in on_a_terminal(there, "ps", "-a")
    assert "\x1b[" not in on_a_terminal(there, "ps", "-a", NO_COLOR="1")


def test_help_answers_at_once(tmp_path: Path) -> None:
    """It imports nothing heavy: no service, no bus client, no message codec."""
    code = (
        "import sys; sys.argv = ['fastflow', '--help']\n"
        "from fastflow.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(sorted({'nats', 'aiohttp', 'msgspec'} & sys.modules.keys()), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [FASTFLOW[0], "-c", code], cwd=tmp_path, env=clean({}), capture_output=True, text=True, check=True
    )
    assert "fastflow up" in done.stdout
    assert done.stderr == "[]\n"


def test_ctrl_c_is_130_also_before_a_command_has_begun(tmp_path: Path) -> None:
    """Also while its modules are still being imported; without a message."""
    code = (
        "import signal, sys, fastflow.cli as cli\n"
        "cli.importlib.import_module = lambda name: signal.raise_signal(signal.SIGINT)\n"
        "sys.argv = ['fastflow', 'ps']\n"
        "cli.main()\n"
    )
    done = subprocess.run(
        [FASTFLOW[0], "-c", code], cwd=tmp_path, env=clean({}), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.strip()) == (130, "")


def on_a_terminal(there: Installation, *arguments: str, **environ: str) -> str:
    """Return what the command prints on a terminal."""
    leader, follower = os.openpty()
    try:
        subprocess.run(
            [*FASTFLOW, *arguments], cwd=there.folder, env=clean(environ), stdout=follower, check=True, timeout=30
        )
        return os.read(leader, 65_536).decode()
    finally:
        os.close(leader)
        os.close(follower)
