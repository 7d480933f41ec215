"""What a pipeline says about its network, from ``pipeline.json`` to the script, in both kinds of sandbox."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.installation import Installation

TRIES = """\
import json, socket
def reaches(address):
    try:
        socket.create_connection(address, timeout=2).close()
        return True
    except OSError:
        return False
print(json.dumps([name for name, *address in %s if reaches(tuple(address))]))
"""


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with Installation(tmp_path) as made:
        yield made


def end(installation: Installation, pipeline: str) -> tuple[dict[str, str], str]:
    """Run *pipeline* to its end; return its record and its log."""
    run_id = json.loads(installation.command("run", pipeline, "--json").stdout)["id"]
    log = installation.command("logs", run_id, "--follow").stdout
    return installation.api(f"/api/runs/{run_id}"), log


def test_a_process_does_not_run_what_limits_its_network(installation: Installation) -> None:
    """It could not hold to it. The operator may allow it, knowing that."""
    installation.add("closed", "print('ran')", network="none")
    installation.add("listed", "print('ran')", network=["db.example.com:5432"])
    installation.add("usual", "print('ran')", network="internet")
    installation.start()
    for name in ("closed", "listed"):
        run, log = end(installation, name)
        assert run["status"] == "FAILED"
        assert "plain processes cannot be limited; use Docker, or set FASTFLOW_NETWORK_UNENFORCED=allow" in str(run)
        assert "ran" not in log.splitlines()
    assert end(installation, "usual")[0]["status"] == "SUCCESS"
    assert installation.stop() == 0
    installation.start(FASTFLOW_NETWORK_UNENFORCED="allow")
    run, log = end(installation, "closed")
    assert (run["status"], log) == ("SUCCESS", "ran\n")
    installation.stop()


@pytest.fixture
def network() -> Iterator[str]:
    name = f"ff-test-{uuid4()}"
    yield name
    for each in (name, f"{name}-listed"):
        subprocess.run(("docker", "network", "rm", each), capture_output=True, check=False)


@pytest.mark.docker
def test_a_run_in_docker_does_not_reach_its_machine(installation: Installation, network: str) -> None:
    """Its listeners are closed to all runs but for the port that the operator opens, and for what a pipeline lists."""
    address = own_address()
    with socket.create_server(("0.0.0.0", 0)) as closed, socket.create_server(("0.0.0.0", 0)) as opened:
        ports = closed.getsockname()[1], opened.getsockname()[1]
        doors = [("closed", address, ports[0]), ("opened", address, ports[1]), ("metadata", "169.254.169.254", 80)]
        for name, asked in (("usual", None), ("none", "none"), ("listed", [f"{address}:{ports[1]}"])):
            installation.add(name, TRIES % json.dumps(doors), **({"network": asked} if asked else {}))
        installation.add("greedy", "print('ran')", network=[f"{address}:{ports[0]}"])
        settings = {"FASTFLOW_NETWORK": network, "FASTFLOW_NETWORK_OPEN": f"host:{ports[1]}"}
        installation.start("--sandbox", "docker", **settings)
        assert "could not be set" not in "".join(installation.printed)
        for name, reached in (("usual", ["opened"]), ("none", []), ("listed", ["opened"])):
            run, log = end(installation, name)
            assert (run["status"], json.loads(log)) == ("SUCCESS", reached), name
        run, log = end(installation, "greedy")
        assert run["status"] == "FAILED"
        assert "which is closed to runs" in str(run)
        installation.stop()
        installation.start("--sandbox", "docker", **settings, FASTFLOW_NETWORK_MAX="list")
        assert json.loads(end(installation, "usual")[1]) == []
        assert json.loads(end(installation, "listed")[1]) == ["opened"]
        installation.stop()


def own_address() -> str:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        return str(probe.getsockname()[0])
