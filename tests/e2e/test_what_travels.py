"""A folder as people have it on their laptop runs: environments, links, empty folders, the installation's limits."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installation import Installation

LOOKS = """
import os
assert open("first.csv").read() == open("latest/a.csv").read() == "a"
assert not os.path.exists("venv")
open("out/result.txt", "w").write("done")
open("results/again.txt", "w").write("done")
print(sorted(os.listdir(".")))
"""


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with Installation(tmp_path) as made:
        yield made


@pytest.mark.parametrize("sandbox", ["process", pytest.param("docker", marks=pytest.mark.docker)])
def test_a_folder_runs_as_it_is(installation: Installation, sandbox: str) -> None:
    """Without its virtual environment, with its links and its empty folders, in every sandbox."""
    installation.add("etl", LOOKS)
    etl = installation.pipelines / "etl"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", etl / "venv"], check=True)
    for name in ("data", "out"):
        (etl / name).mkdir()
    (etl / "data/a.csv").write_text("a")
    (etl / "latest").symlink_to("data")
    (etl / "first.csv").symlink_to("latest/a.csv")
    (etl / "results").symlink_to("out")
    installation.start("--sandbox", sandbox)
    done = installation.command("run", "etl", "--follow")
    assert (done.returncode, done.stdout) == (
        0,
        "['data', 'first.csv', 'latest', 'main.py', 'out', 'results']\n",
    )
    assert installation.stop() == 0


def test_the_limits_of_the_installation_hold(installation: Installation) -> None:
    """A pipeline that demands more keeps its last good version; what it does not set comes from the installation."""
    installation.add("modest", "import time\ntime.sleep(600)\n")
    installation.add("greedy", "print(1)", timeout=3600)
    (installation.pipelines / "main.py").write_text("print(1)")
    installation.start(MAX_TIMEOUT="60", DEFAULT_TIMEOUT="1", LOG_RETENTION_DAYS="30")
    printed = "".join(installation.printed)
    assert "LOG_RETENTION_DAYS" in printed
    assert "with problems: greedy, main.py (see" in printed
    done = installation.command("run", "modest", "--follow")
    assert done.returncode != 0
    run = installation.api("/api/pipelines/modest/runs")["runs"][0]
    assert run["error_type"] == "timeout"
    listed = {each["name"]: each for each in installation.api("/api/pipelines")}
    assert "MAX_TIMEOUT" in json.dumps(listed["greedy"]["problems"])
    assert installation.stop() == 0
