"""The units of ``deploy/systemd``, checked by systemd itself and against what they start."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
WITH_SANDBOXES = ("fastflow.service", "fastflow-runner.service")
SERVICES = ("syncer", "scheduler", "gateway")


def settings(unit: str) -> dict[str, str]:
    lines = [line.partition("=") for line in (UNITS / unit).read_text().splitlines() if not line.startswith(("#", "["))]
    return {name: value for name, equals, value in lines if equals}


@pytest.mark.parametrize("unit", [*WITH_SANDBOXES, *(f"fastflow@{service}.service" for service in SERVICES)])
def test_systemd_takes_the_unit(unit: str, tmp_path: Path) -> None:
    """Without a complaint about any line."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    template = unit if (UNITS / unit).exists() else "fastflow@.service"
    scripts = sysconfig.get_path("scripts")
    (tmp_path / unit).write_text((UNITS / template).read_text().replace("/opt/fastflow/.venv/bin", scripts))
    env = dict(os.environ, SYSTEMD_LOG_LEVEL="warning")
    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / unit], capture_output=True, text=True, env=env, check=False
    )
    ours = [line for line in told.stderr.splitlines() if unit in line]
    assert (ours, told.returncode) == ([], 0)


@pytest.mark.parametrize("unit", WITH_SANDBOXES)
def test_what_runs_sandboxes_may_limit_them(unit: str) -> None:
    """Control groups are delegated, a script without memory does not stop the service, and /proc stays whole."""
    found = settings(unit)
    assert set(found["Delegate"].split()) == {"cpu", "memory", "pids"}
    assert (found["OOMPolicy"], found["KillMode"], found["TasksMax"]) == ("continue", "mixed", "infinity")
    assert not found.keys() & {"PrivateUsers", "RestrictNamespaces", "ProtectKernelTunables", "ProtectControlGroups"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_unit_names_a_service_that_exists(service: str) -> None:
    """``python -m fastflow_…`` for each instance that the documents name."""
    assert settings("fastflow@.service")["ExecStart"].endswith("python -m fastflow_%i")
    assert importlib.util.find_spec(f"fastflow_{service}.__main__") is not None


def test_systemd_makes_the_folder_that_the_unit_serves() -> None:
    """``fastflow up`` refuses a folder that is not there."""
    found = settings("fastflow.service")
    folder = found["ExecStart"].split(" up ")[1].split()[0]
    assert folder in {f"/var/lib/{name}" for name in found["StateDirectory"].split()}
