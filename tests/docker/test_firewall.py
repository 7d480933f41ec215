"""What ``deploy/compose/firewall`` blocks, tried from inside a run.

The run is on a separate Docker host that can reach a metadata service, an internet and a private network.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from aiodocker import Docker

from fastflow_runner.sandbox import SandboxSpec
from fastflow_runner.sandbox.docker import DockerSandboxes
from fastflow_runner.sandbox.image import ensure_worker_image
from tests.sandbox_contract import Place, listen
from tests.support.docker_host import DockerHost, missing

pytestmark = pytest.mark.docker

FIREWALL = Path(__file__).parents[2] / "deploy" / "compose" / "firewall"
NETWORK = "fastflow"
HOST, WORLD = "198.51.100.1", "198.51.100.2"
LISTEN = """
import signal, socket, sys
doors = [socket.create_server(("0.0.0.0", int(port))) for port in sys.argv[1:]]
print("open", flush=True)
signal.pause()
"""
NEIGHBOUR = """
import socket, time
door = socket.create_server(("0.0.0.0", 4242))
print(socket.gethostbyname(socket.gethostname()), flush=True)
time.sleep(600)
"""
TRY = """
import json, socket
def reaches(address):
    try:
        socket.create_connection(address, timeout=1).close()
        return True
    except OSError:
        return False
print(json.dumps([name for name, *address in %s if reaches(tuple(address))]))
"""


def run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout


@contextmanager
def listening(network: str, *ports: int) -> Iterator[None]:
    """A program in the namespace *network* that accepts connections on *ports*."""
    command = ["nsenter", f"--net={network}", sys.executable, "-c", LISTEN, *map(str, ports)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"open\n"
            yield
        finally:
            process.kill()


@contextmanager
def world(host: DockerHost) -> Iterator[None]:
    """The environment of *host*.

    Behind its only link are a metadata service, an internet and a private network. The host itself has another
    metadata address, a bus and a listening Docker daemon.
    """
    with ExitStack() as stack:
        outside = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo made; exec sleep infinity"], stdout=subprocess.PIPE
        )
        stack.callback(outside.wait)
        stack.callback(outside.kill)
        assert outside.stdout is not None
        stack.callback(outside.stdout.close)
        assert outside.stdout.readline() == b"made\n"
        there = f"/proc/{outside.pid}/ns/net"
        inside, beyond = ("nsenter", f"--net={host.network}", "ip"), ("nsenter", f"--net={there}", "ip")
        run(*inside, "link", "add", "up0", "type", "veth", "peer", "name", "down0", "netns", str(outside.pid))
        run(*inside, "address", "add", f"{HOST}/24", "dev", "up0")
        run(*inside, "link", "set", "up0", "up")
        run(*inside, "route", "add", "default", "via", WORLD)
        run(*inside, "address", "add", "169.254.170.2/32", "dev", "lo")
        for name in ("down0", "lo"):
            run(*beyond, "link", "set", name, "up")
        for address in (f"{WORLD}/24", "169.254.169.254/32", "10.99.99.99/32"):
            run(*beyond, "address", "add", address, "dev", "down0")
        stack.enter_context(listening(host.network, 80, 2375, 4222))
        stack.enter_context(listening(there, 80))
        yield


@pytest.fixture
def host() -> Iterator[DockerHost]:
    if reason := missing("iptables"):
        (pytest.fail if os.environ.get("FASTFLOW_REQUIRE_DOCKER") == "1" else pytest.skip)(reason)
    made = DockerHost()
    try:
        made.start()
        with world(made):
            yield made
    finally:
        made.remove()


@pytest_asyncio.fixture
async def place(docker: Docker, host: DockerHost) -> AsyncIterator[Place]:
    """The network of runs on that host."""
    image = await ensure_worker_image(docker, progress=lambda line: None)
    await asyncio.to_thread(host.load, image)
    sandboxes = DockerSandboxes(scope=f"test-{uuid4()}", url=host.url)
    yield Place(sandboxes, SandboxSpec(name="", image=image, network=NETWORK))
    await sandboxes.close()


def service(host: DockerHost, image: str, network: str, port: int, *options: str) -> str:
    """Start a container as compose does, on a separate network. Return its address."""
    serve = ("--entrypoint", "python3", image, "-c", LISTEN, str(port))
    name = host.docker("run", "--detach", "--network", network, *options, *serve).strip()
    shown = json.loads(host.docker("inspect", name))[0]
    return str(shown["NetworkSettings"]["Networks"][network]["IPAddress"])


async def test_a_run_reaches_the_internet_but_neither_metadata_nor_the_host(host: DockerHost, place: Place) -> None:
    """Docker alone blocks our services and other runs; the firewall blocks the rest, optionally all private networks.

    Setting up the firewall twice has the same effect as once.
    """
    session, neighbour = await place.start(NEIGHBOUR)
    beside = (await listen(session, until=lambda t: t.stdout.endswith(b"\n"))).stdout.decode().strip()
    image = place.spec().image
    host.docker("network", "create", "--internal", "ff-bus")
    host.docker("network", "create", "ff-front")
    bus = service(host, image, "ff-bus", 4222)
    gateway = service(host, image, "ff-front", 8000, "--publish", "8000:8000")
    own = json.loads(host.docker("network", "inspect", NETWORK))[0]["IPAM"]["Config"][0]["Gateway"]
    doors = [
        ("neighbour", beside, 4242),
        ("bus", bus, 4222),
        ("gateway", gateway, 8000),
        ("published gateway", HOST, 8000),
        ("gateway at the bridge", own, 8000),
        ("bus of the host", own, 4222),
        ("bus of the host, by its address", HOST, 4222),
        ("Docker of the host", own, 2375),
        ("metadata of the host", "169.254.170.2", 80),
        ("metadata", "169.254.169.254", 80),
        ("private network", "10.99.99.99", 80),
        ("internet", WORLD, 80),
    ]

    async def reached() -> list[str]:
        found: list[str] = json.loads((await place.run(TRY % json.dumps(doors))).stdout)
        return found

    assert await reached() == [name for name, *_ in doors[3:]]
    rules = []
    for _ in range(2):
        enter = ("nsenter", f"--net={host.network}")
        run(*enter, "env", f"DOCKER_HOST={host.url}", str(FIREWALL), NETWORK)
        rules.append([line for line in run(*enter, "iptables-save").splitlines() if line.startswith("-A")])
    assert rules[0] == rules[1]
    assert await reached() == ["private network", "internet"]
    run(*enter, "env", f"DOCKER_HOST={host.url}", str(FIREWALL), "--private", NETWORK)
    assert await reached() == ["internet"]
    await neighbour.close()
