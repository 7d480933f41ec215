"""``deploy/compose`` as its README describes: created by ``./init``, started, scaled, used, inspected, removed.

The images remain under a separate tag, because a full build takes minutes; a later build reuses unchanged layers.
"""

from __future__ import annotations

import ipaddress
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from tests.support.ports import free_port
from tests.support.tls_bus import Authority

pytestmark = pytest.mark.docker

ROOT: Final = Path(__file__).parents[2]
SERVICES: Final = ("nats", "syncer", "scheduler", "gateway", "runner", "docker-proxy")
BUILD_S: Final = 900
WAIT_S: Final = 120
LOOK_S: Final = 0.25
HELLO: Final = "print('hello from', __import__('os').environ['FASTFLOW_RUN_ID'])"
REACH: Final = """
import json, os, socket
def reaches(address):
    try:
        socket.create_connection(address, timeout=1).close()
        return True
    except OSError:
        return False
print(json.dumps([address for address in json.loads(os.environ["ADDRESSES"]) if reaches(tuple(address))]))
"""
T = TypeVar("T")


def run(*words: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=BUILD_S, check=False)
    assert done.returncode == 0, f"{' '.join(words)}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def compose_command() -> list[str]:
    """Run the installed version of Compose."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and not subprocess.run([*command, "version"], capture_output=True).returncode:
            return command
    if os.environ.get("FASTFLOW_REQUIRE_DOCKER") == "1":
        pytest.fail("Compose is not here")
    pytest.skip("Compose is not here")


def eventually(look: Callable[[], T | None], what: str) -> T:
    """Wait until *look* finds something, and return it."""
    deadline = time.monotonic() + WAIT_S
    while (found := look()) is None:
        assert time.monotonic() < deadline, f"no {what} within {WAIT_S} s"
        time.sleep(LOOK_S)
    return found


class Deployment:
    """A copy of this tree, deployed under its own name."""

    def __init__(self, folder: Path) -> None:
        self.name = f"ff-test-{secrets.token_hex(4)}"
        self.folder = folder / "deploy" / "compose"
        self.files = ["compose.yaml"]
        self.pipelines = folder / "pipelines"
        self.pipelines.mkdir(mode=0o755)
        self.address = f"127.0.0.1:{free_port('127.0.0.1')}"
        own = {
            "COMPOSE_PROJECT_NAME": self.name,
            "FASTFLOW_TAG": "test",
            "FASTFLOW_PORTS": self.address,
            "PIPELINES": str(self.pipelines),
            "FASTFLOW_NETWORK": f"{self.name}-runs",
            "FASTFLOW_STORE_VOLUME": f"{self.name}-store",
            "RUNNER_POOL_SIZE": "1",
        }
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("FASTFLOW_")} | own
        self._compose = compose_command()

    def compose(self, *words: str, **env: str) -> str:
        files = [word for name in self.files for word in ("-f", name)]
        return run(*self._compose, *files, *words, cwd=self.folder, env=self._env | env)

    def elsewhere(self, *words: str, **env: str) -> str:
        """As on another machine that has these files but none of our other networks."""
        return self.compose(*words, COMPOSE_PROJECT_NAME=f"{self.name}-2", **env)

    def init(self) -> None:
        run("./init", cwd=self.folder, env=self._env)

    def secret(self, name: str) -> str:
        return (self.folder / "secrets" / name).read_text().strip()

    def containers(self, service: str) -> list[dict[str, Any]]:
        """Return the containers as Docker shows them."""
        labels = {"project": self.name, "service": service, "oneoff": "False"}
        filters = [f"--filter=label=com.docker.compose.{name}={value}" for name, value in labels.items()]
        found = run("docker", "ps", "--quiet", *filters).split()
        shown: list[dict[str, Any]] = json.loads(run("docker", "inspect", *found)) if found else []
        return shown

    def healthy(self, service: str, number: int) -> list[dict[str, Any]]:
        def look() -> list[dict[str, Any]] | None:
            found = self.containers(service)
            well = [each for each in found if each["State"].get("Health", {}).get("Status") == "healthy"]
            return well if len(well) == len(found) == number else None

        return eventually(look, f"{number} healthy {service}")

    def ask(self, path: str, body: Any = None) -> Any:
        """Return None while the answer is no."""
        headers = {"Authorization": f"Bearer {self.secret('admin.token')}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.address}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                said = answer.read().decode()
                return json.loads(said) if answer.headers.get_content_type() == "application/json" else said
        except urllib.error.HTTPError:
            return None

    def push(self, name: str, main: str) -> None:
        """Add a pipeline, and wait until it is known."""
        (self.pipelines / name).mkdir()
        (self.pipelines / name / "main.py").write_text(main)
        eventually(lambda: self.ask(f"/api/pipelines/{name}"), f"pipeline {name}")

    def result(self, name: str, **env: str) -> tuple[str, str]:
        """Run the pipeline. Return the run's id and output."""
        made = self.ask(f"/api/pipelines/{name}/run?allow_undeclared=true", {"env_vars": env})

        def over() -> Any:
            found = self.ask(f"/api/runs/{made['id']}")
            return found if found["finished_at"] else None

        assert eventually(over, "end")["status"] == "SUCCESS"
        return made["id"], self.ask(f"/api/runs/{made['id']}/logs")

    def remove(self) -> None:
        """Remove everything except the images."""
        if not (self.folder / ".env").exists():
            return
        self.elsewhere("down", "--volumes", "--timeout", "20")
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "20")
        label = f"label=fastflow.scope={self._installation()}"
        for left in run("docker", "ps", "--all", "--quiet", "--filter", label).split():
            run("docker", "rm", "--force", left)
        run("docker", "volume", "rm", "--force", f"{self.name}-store")
        for network in run("docker", "network", "ls", "--quiet", "--filter", f"name={self.name}-runs").split():
            run("docker", "network", "rm", network)

    def _installation(self) -> str:
        lines = (self.folder / ".env").read_text().splitlines()
        return next(line for line in lines if line.startswith("FASTFLOW_INSTALLATION=")).partition("=")[2]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A healthy deployment, created from a copy of the files in git."""
    folder = tmp_path_factory.mktemp("compose")
    folder.chmod(0o755)
    for name in run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines():
        if (ROOT / name).is_file() and not name.startswith(("tests/", "bench/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    made = Deployment(folder)
    try:
        made.init()
        made.compose("up", "-d", "--build")
        for service in SERVICES:
            made.healthy(service, 1)
        yield made
    except AssertionError:
        print(made.compose("logs", "--no-color", "--tail", "30"))
        raise
    finally:
        made.remove()


def test_an_added_pipeline_runs_and_its_log_is_readable(deployment: Deployment) -> None:
    """It also works with two runners; the command shows both."""
    deployment.push("hello", HELLO)
    deployment.compose("up", "-d", "--scale", "runner=2")
    deployment.healthy("runner", 2)
    run_id, log = deployment.result("hello")
    assert log == f"hello from {run_id}\n"
    assert deployment.compose("run", "--rm", "setup", "logs", run_id) == log
    shown = deployment.compose("run", "--rm", "setup", "runners")
    assert shown.count("docker") >= 2, shown
    assert "the firewall could not be set" not in " ".join(shown.split())


def test_no_service_is_root_writes_to_its_image_or_holds_dockers_socket(deployment: Deployment) -> None:
    """Only the proxy has the socket, and nothing else. Docker shows no secret of a service."""
    hidden = [deployment.secret(name) for name in ("admin.token", "encryption.key", "runner.seed", "bus.url")]
    for service in SERVICES:
        for shown in deployment.containers(service):
            host, config = shown["HostConfig"], shown["Config"]
            assert config["User"].split(":")[0] not in ("", "0", "root"), service
            assert host["ReadonlyRootfs"], service
            assert host["CapDrop"] == ["ALL"], service
            assert not host["CapAdd"], service
            assert not host["Privileged"], service
            assert "no-new-privileges:true" in host["SecurityOpt"], service
            assert host["Memory"] > 0, service
            assert host["PidsLimit"] > 0, service
            sockets = [mount for mount in shown["Mounts"] if mount["Source"].endswith("docker.sock")]
            assert len(sockets) == (service == "docker-proxy"), service
            assert not [secret for secret in hidden if secret in json.dumps(shown)], service


def test_a_run_reaches_none_of_the_services(deployment: Deployment) -> None:
    """The run tries their addresses, which are on other networks than its own."""
    doors = {"nats": (4222, 8222), "gateway": (8000,), "docker-proxy": (2375,)}
    addresses = [
        (network["IPAddress"], port)
        for service, ports in doors.items()
        for network in deployment.containers(service)[0]["NetworkSettings"]["Networks"].values()
        for port in ports
    ]
    assert len(addresses) == 5
    deployment.push("reach", REACH)
    _, log = deployment.result("reach", ADDRESSES=json.dumps(addresses))
    assert log == "[]\n"


def test_compose_accepts_the_cluster_file(deployment: Deployment) -> None:
    """It has the same secrets and settings."""
    deployment.compose("-f", "compose.cluster.yaml", "config", "--quiet")


def test_a_runner_on_another_machine_joins_over_tls(deployment: Deployment) -> None:
    """It needs the bus's address, a credential and a CA certificate; it shares no network with the other services."""
    (bridge,) = json.loads(run("docker", "network", "inspect", "bridge"))
    address = str(next(ipaddress.ip_network(bridge["IPAM"]["Config"][0]["Subnet"]).hosts()))  # usually the host's own
    secrets_folder = deployment.folder / "secrets"
    authority = Authority(secrets_folder / "ca.pem")
    authority.sign(secrets_folder / "server.pem", "nats", address=address)
    for name in ("ca.pem", "server.pem"):
        os.chown(secrets_folder / name, secrets_folder.stat().st_uid, secrets_folder.stat().st_gid)
    bus = f"{address}:{free_port(address)}"
    deployment.compose("down")  # in order: a service whose bus is replaced first waits for it, up to its grace
    deployment.files.append("compose.tls.yaml")
    deployment.compose("up", "-d", "--scale", "runner=0", BUS_PORT=bus)
    deployment.healthy("gateway", 1)
    deployment.elsewhere("up", "-d", "--no-deps", "docker-proxy", "runner", FASTFLOW_NATS_URL=f"tls://{bus}")
    deployment.push("hello-again", HELLO)
    assert "hello from" in deployment.result("hello-again")[1]
    with socket.create_connection((address, int(bus.rpartition(":")[2])), timeout=10) as plain:
        assert b'"tls_required":true' in plain.recv(4096)
