"""``fastflow up`` with a container for each run: what happens to the containers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from fastflow_runner.sandbox.docker.image import WORKER_BASE_IMAGE, worker_arguments, worker_context, worker_reference
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
    """Return the names of the containers of one run, running or not."""
    listed = subprocess.run(
        ["docker", "ps", "--all", "--filter", f"name={run_id}", "--format", "{{.Names}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return listed.stdout.split()


def test_ctrl_c_leaves_no_container(installation: Installation) -> None:
    """Running scripts are stopped and recorded before the word "Stopped"."""
    start(installation)
    assert "a Docker container for each run" in "".join(installation.printed)
    run_id = json.loads(installation.command("run", "sleeps", "--json").stdout)["id"]
    installation.await_log(run_id, "asleep")
    assert len(containers(run_id)) == 1
    assert installation.stop() == 0
    assert containers(run_id) == []
    installation.await_silence()


@pytest.mark.promise("nothing lost")
def test_a_run_outlives_the_kill_of_everything_else(installation: Installation) -> None:
    """Killed and restarted, the same container continues: one attempt, success, and every line once."""
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


@pytest.fixture
def volume() -> Iterator[str]:
    name = f"fastflow-test-{uuid4()}"
    yield name
    subprocess.run(["docker", "volume", "rm", name], capture_output=True, check=True)


def take_environments_away(volume: str) -> str:
    """Run another runner's collector, with a budget of zero, on *volume*; return its output."""
    image = worker_reference(worker_context(None), worker_arguments(WORKER_BASE_IMAGE))
    container = ["docker", "run", "--rm", "--network=none", f"--volume={volume}:/store", "--entrypoint=python3", image]
    collect = ["-I", "-S", "/opt/fastflow/prepare", "collect", "--store=/store", "--budget-bytes=1"]
    return subprocess.run([*container, *collect], capture_output=True, text=True, check=True).stdout


def test_a_removed_environment_is_made_again(installation: Installation, volume: str) -> None:
    """Another runner removed it, which this one does not know: the sandbox finds it gone, and the attempt gets a
    new one.
    """
    installation.add("prefix", "import sys; print(sys.prefix)")
    (installation.pipelines / "prefix" / "requirements.txt").write_text("--no-index\n")
    installation.start("--sandbox", "docker", FASTFLOW_STORE_VOLUME=volume)
    first = installation.command("run", "prefix", "--follow")
    assert first.stdout.splitlines()[-1].startswith("/store/")
    assert json.loads(take_environments_away(volume).splitlines()[0])["gone"]

    again = installation.command("run", "prefix", "--follow")
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]
    runs = json.loads(installation.command("ps", "-a", "--json").stdout)
    assert [(run["status"], len(run["attempts"])) for run in runs] == [("SUCCESS", 1)] * 2
    assert installation.stop() == 0
