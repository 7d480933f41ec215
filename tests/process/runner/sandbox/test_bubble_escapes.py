"""Ways out of a sandbox without a daemon, tried from inside: for a runner that is root, and for one that is not.

``tests.support.escapes.attempts`` lists them. What is harmless is also tried without a sandbox, where it succeeds.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support import bubble
from tests.support.escapes import attempts, trial

ROOT = Path(__file__).parents[4]
USER = 4321
RUNNERS = ("root", "ordinary user")

pytestmark = [
    pytest.mark.bubble,
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of its calls are those of x86-64"),
]


@cache
def came_back(runner: str) -> dict[str, Any]:
    """Return what came back to a script whose runner is root or an ordinary user."""
    bubble.required("bwrap", "nft")
    folder = Path(tempfile.mkdtemp(prefix="ff-escapes-"))
    try:
        words: tuple[str, ...] = (sys.executable, "-m", "tests.support.escapes.trial", str(folder))
        if runner != "root":
            os.chown(folder, USER, USER)
            words = bubble.as_ordinary_user(*words, user=USER)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("FASTFLOW_")}
        done = subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("name", attempts.ATTEMPTS)
@pytest.mark.parametrize("runner", RUNNERS)
def test_it_does_not(runner: str, name: str) -> None:
    """Each attempt fails, and the others were made too."""
    answer = came_back(runner)["sandbox"][name]
    assert not answer.startswith("GOT"), answer


@pytest.mark.parametrize("name", attempts.CONTROLS)
def test_without_a_sandbox_it_does(name: str) -> None:
    """So the attempts are able to succeed."""
    assert came_back("root")["control"][name].startswith("GOT")


@pytest.mark.parametrize("runner", RUNNERS)
def test_what_it_may_use_ends(runner: str) -> None:
    """10,000 forks, files in memory, and memory itself: the run gets an error or ends, the machine does not notice."""
    used = came_back(runner)["excess"]
    count, error = used["forks"]
    assert (int(count) < trial.PROCESSES_MAX, error) == (True, "EAGAIN")
    for folder, line in zip(("/tmp", "/work", "/dev/shm"), used["files"], strict=True):
        place, written, error = line.split()
        assert (place, int(written) <= trial.FILE_SYSTEM_BYTES, error) == (folder, True, "ENOSPC")
    assert used["memory"][:2] == ["up\n", 137]


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_other_run_goes_on(runner: str) -> None:
    """Nothing of all that ended it."""
    assert came_back(runner)["the other run lives"] is True
