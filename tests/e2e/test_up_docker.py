"""``fastflow up`` with a container for each run: what becomes of the containers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installation import SLEEPS, Installation

pytestmark = pytest.mark.docker

COUNTS = """\
import time
for number in range(1, 41):
    print("line", number, flush=True)
    time.sleep(0.1)
"""


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with Installation(tmp_path) as made:
        made.add("sleeps", SLEEPS)
        made.add("counts", COUNTS)
        yield made


def start(installation: Installation) -> None:
    installation.start("--sandbox", "docker")


def containers(run_id: str) -> list[str]:
    """Names of the containers of one run, running or not."""
    listed = subprocess.run(
        ["docker", "ps", "--all", "--filter", f"name={run_id}", "--format", "{{.Names}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return listed.stdout.split()


def test_ctrl_c_leaves_no_container(installation: Installation) -> None:
    """What still ran is stopped and recorded before the word "Stopped"."""
    start(installation)
    assert "a Docker container for each run" in "".join(installation.printed)
    run_id = json.loads(installation.command("run", "sleeps", "--json").stdout)["id"]
    installation.await_log(run_id, "asleep")
    assert len(containers(run_id)) == 1
    assert installation.stop() == 0
    assert containers(run_id) == []
    installation.await_silence()


def test_a_run_outlives_the_kill_of_everything_else(installation: Installation) -> None:
    """Killed and started again, the same container goes on: one attempt, success, and every line once."""
    start(installation)
    run_id = json.loads(installation.command("run", "counts", "--json").stdout)["id"]
    installation.await_log(run_id, "line 5")
    installation.kill()
    assert len(containers(run_id)) == 1
    start(installation)
    followed = installation.command("logs", run_id, "--follow")
    assert followed.stdout.splitlines() == [f"line {number}" for number in range(1, 41)]
    (run,) = json.loads(installation.command("ps", "-a", "--json").stdout)
    assert (run["status"], len(run["attempts"])) == ("SUCCESS", 1)
    assert installation.stop() == 0
    assert containers(run_id) == []
