"""A service takes no arguments, and says so."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("service", ["gateway", "runner", "scheduler", "syncer"])
def test_a_service_says_what_it_is_and_takes_no_arguments(service: str) -> None:
    """``--help`` is answered; anything else is refused before a setting is read."""
    command = [sys.executable, "-m", f"fastflow_{service}"]
    asked = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=30, check=False)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert f"One {service}: " in asked.stdout
    assert "fastflow config" in asked.stdout
    refused = subprocess.run([*command, "start"], capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode == 2
    assert "unrecognized arguments: start" in refused.stderr
