"""``fastflow init``: a new pipeline runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from fastflow.commands.init import init


def test_a_new_pipeline_says_hello(tmp_path: Path) -> None:
    """Its script runs as it is, without Fast-Flow."""
    done = CliRunner().invoke(init, ["greet", "--dir", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0
    command = [sys.executable, "main.py"]
    ran = subprocess.run(command, cwd=tmp_path / "greet", capture_output=True, text=True, check=True)
    assert ran.stdout == "Hello, world!\n"
