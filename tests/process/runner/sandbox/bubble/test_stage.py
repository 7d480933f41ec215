"""Private folders on the way to what a sandbox sees, and what is left of one that could not be shown."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
from pathlib import Path

import pytest

from fastflow_runner.sandbox import USER, SandboxError
from fastflow_runner.sandbox.bubble.stage import Stage
from tests.support.bubble import required

pytestmark = pytest.mark.bubble


def reads(path: Path) -> str:
    """Return what the user of sandboxes reads there."""
    done = subprocess.run(["cat", path], capture_output=True, text=True, user=USER, group=USER, check=False)
    return done.stdout


def private_file(tmp_path: Path, name: str) -> Path:
    tmp_path.chmod(0o700)
    file = tmp_path / name
    file.write_text(name)
    file.chmod(0o644)
    return file


def test_a_stage_that_could_not_be_set_is_forgotten(tmp_path: Path) -> None:
    """The next call sets a whole one, where all is shown again and nothing more."""
    required("cat")
    stage = Stage()
    shown, hidden = private_file(tmp_path, "shown"), private_file(tmp_path, "hidden")
    assert stage.call(lambda: reads(shown), [str(shown)], USER) == "shown"
    many = [str(private_file(tmp_path, f"{number}")) for number in range(200)]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 100, limits[1]))
    try:
        with pytest.raises(SandboxError, match=r"cannot be shown to a sandbox \(Too many open files\)"):
            stage.call(lambda: None, [str(shown), *many], USER)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert stage.call(lambda: (reads(shown), reads(hidden)), [str(shown)], USER) == ("shown", "")
    stage.close()
    assert stat.S_IMODE(os.stat(tmp_path).st_mode) == 0o700
