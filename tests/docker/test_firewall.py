"""What a run reaches, tried from inside: nothing of its machine, of the link and of private networks, unless opened.

The run is on a separate Docker host that can reach a metadata service, an internet and a private network.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import NamedTuple

import pytest
import pytest_asyncio
from aiodocker import Docker

from fastflow_runner.sandbox import Channel, SandboxError, SandboxSpec
from fastflow_runner.sandbox.docker.config import LABEL_SCOPE, listed_network
from fastflow_runner.sandbox.docker.firewall import Firewall
from fastflow_runner.sandbox.docker.image import ensure_worker_image
from fastflow_runner.sandbox.docker.sandboxes import DockerSandboxes
from tests.sandbox_contract import Place, listen
from tests.support.docker_host import DockerHost, missing

pytestmark = pytest.mark.docker

NETWORK = "fastflow"
LABEL = f"{LABEL_SCOPE}=test"
HOST, WORLD, PRIVATE = "198.51.100.1", "198.51.100.2", "10.99.99.99"
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
        for address in (f"{WORLD}/24", "169.254.169.254/32", f"{PRIVATE}/32"):
            run(*beyond, "address", "add", address, "dev", "down0")
        stack.enter_context(listening(host.network, 80, 2375, 4222))
        stack.enter_context(listening(there, 80, 81))
        yield


@pytest.fixture(scope="module")
def host() -> Iterator[DockerHost]:
    if reason := missing("iptables"):
        (pytest.fail if os.environ.get("FASTFLOW_REQUIRE_DOCKER") == "1" else pytest.skip)(reason)
    made = DockerHost()
    try:
        made.start()
        made.names({"api.example.test": WORLD, "db.example.test": PRIVATE})
        with world(made):
            yield made
    finally:
        made.remove()


@pytest_asyncio.fixture
async def image(docker: Docker, host: DockerHost) -> str:
    built = await ensure_worker_image(docker, progress=lambda line: None)
    await asyncio.to_thread(host.load, built)
    return built


class Runner(NamedTuple):
    """What a runner has: sandboxes, and their firewall unless it has none."""

    place: Place
    firewall: Firewall | None

    async def reached(self, doors: list[tuple[str, str, int]], channel: Channel | None = None) -> list[str]:
        """Return the names of *doors* that a script gets through."""
        transcript = await self.place.run(TRY % json.dumps(doors), channel=channel)
        found: list[str] = json.loads(transcript.stdout)
        return found


@asynccontextmanager
async def runner(
    host: DockerHost, image: str, *, opened: tuple[str, ...] | None, network: str = NETWORK
) -> AsyncIterator[Runner]:
    """A runner on *host*. *opened*: what the operator opens; None: no firewall, as before there was one."""
    sandboxes = DockerSandboxes(scope="test", url=host.url)
    firewall = None if opened is None else sandboxes.guard(image, runner="one", network=network, opened=opened)
    place = Place(sandboxes, SandboxSpec(name="", image=image, network=network))
    try:
        yield Runner(place, firewall)
    finally:
        await place.clear()
        await sandboxes.close()


def service(host: DockerHost, image: str, network: str, port: int, *options: str) -> str:
    """Start a container as compose does, on a separate network. Return its address."""
    serve = ("--entrypoint", "python3", image, "-c", LISTEN, str(port))
    name = host.docker("run", "--detach", "--network", network, *options, *serve).strip()
    shown = json.loads(host.docker("inspect", name))[0]
    return str(shown["NetworkSettings"]["Networks"][network]["IPAddress"])


@pytest.fixture
def doors(host: DockerHost, image: str) -> Iterator[list[tuple[str, str, int]]]:
    """Everything that a run might try, by name. The network of runs exists."""
    if NETWORK not in host.docker("network", "ls", "--format", "{{.Name}}").split():
        host.docker(
            "network", "create", "--opt", "com.docker.network.bridge.enable_icc=false", "--label", LABEL, NETWORK
        )
    host.docker("network", "create", "--internal", "ff-bus")
    host.docker("network", "create", "ff-front")
    bus = service(host, image, "ff-bus", 4222)
    service(host, image, "ff-front", 8000, "--publish", "8000:8000")
    own = json.loads(host.docker("network", "inspect", NETWORK))[0]["IPAM"]["Config"][0]["Gateway"]
    yield [
        ("bus", bus, 4222),
        ("published gateway", HOST, 8000),
        ("gateway at the bridge", own, 8000),
        ("bus of the host", own, 4222),
        ("bus of the host, by its address", HOST, 4222),
        ("Docker of the host", own, 2375),
        ("metadata of the host", "169.254.170.2", 80),
        ("metadata", "169.254.169.254", 80),
        ("private network", PRIVATE, 80),
        ("internet", WORLD, 80),
    ]
    host.clear()
    host.docker("network", "rm", "ff-bus", "ff-front")


def nft(host: DockerHost, image: str, *words: str) -> str:
    """Call nft in the network of *host*."""
    options = ("--rm", "--network", "host", "--cap-add", "NET_ADMIN", "--user", "0", "--entrypoint", "nft")
    return host.docker("run", *options, image, *words)


def rules(host: DockerHost, image: str) -> str:
    """The rules of our own in the kernel of *host*, without what single runs were admitted to.

    The kernel lists tables in the order in which they were made; the tables do not depend on each other, so here they
    are in the order of their names. Chains and rules stay in the kernel's order.
    """
    shown = re.sub(r"\s+elements = \{[^}]*\}", "", nft(host, image, "list", "ruleset"))
    tables = re.split(r"^table ", shown, flags=re.MULTILINE)
    return "".join(sorted(f"table {each}" for each in tables if each.startswith("inet fastflow_")))


async def test_a_run_reaches_the_internet_but_neither_metadata_nor_the_host_nor_private_networks(
    host: DockerHost, image: str, doors: list[tuple[str, str, int]]
) -> None:
    """Without the firewall, Docker keeps runs from the bus and from each other only."""
    async with runner(host, image, opened=None) as bare:
        assert await bare.reached(doors) == [name for name, *_ in doors[1:]]
    async with runner(host, image, opened=()) as guarded:
        session, neighbour = await guarded.place.start(NEIGHBOUR)
        beside = (await listen(session, until=lambda t: t.stdout.endswith(b"\n"))).stdout.decode().strip()
        assert await guarded.reached([*doors, ("neighbour", beside, 4242)]) == ["internet"]
        assert guarded.place.sandboxes.unenforced == ()
        await neighbour.close()


async def test_what_the_operator_opens_is_reached_and_nothing_beside_it(
    host: DockerHost, image: str, doors: list[tuple[str, str, int]]
) -> None:
    """A port of the machine, also one that Docker publishes, and a name in a private network with one of its ports."""
    beside = [("private network, another port", PRIVATE, 81)]
    async with runner(host, image, opened=("host:8000", "host:4222", "db.example.test:80")) as guarded:
        assert await guarded.reached([*doors, *beside]) == [
            "published gateway",
            "gateway at the bridge",
            "bus of the host",
            "bus of the host, by its address",
            "private network",
            "internet",
        ]
    async with runner(host, image, opened=("10.99.0.0/16",)) as guarded:
        assert await guarded.reached([*doors, *beside]) == [
            "private network",
            "internet",
            "private network, another port",
        ]


async def test_a_list_is_all_that_its_run_reaches(
    host: DockerHost, image: str, doors: list[tuple[str, str, int]]
) -> None:
    """Names lead to the addresses that were admitted, no other name can be asked for, and another list is its own."""
    named = [("by name", "api.example.test", 80), ("another port", WORLD, 81), ("no name", "db.example.test", 80)]
    async with runner(host, image, opened=("host:8000",)) as guarded:
        open_ = partial(guarded.place.open, network=listed_network(NETWORK))
        session, first = await guarded.place.start(NEIGHBOUR, channel=await open_(reach=("api.example.test:81",)))
        await listen(session, until=lambda t: t.stdout.endswith(b"\n"))
        channel = await open_(reach=("api.example.test:80",))
        assert await guarded.reached([*doors, *named], channel) == ["internet", "by name"]
        channel = await open_(reach=(f"{HOST}:8000",))
        assert await guarded.reached([*doors, *named], channel) == ["published gateway"]
        with pytest.raises(SandboxError, match="closed to runs; the operator opens it with FASTFLOW_NETWORK_OPEN"):
            await open_(reach=("db.example.test:80",))
        with pytest.raises(SandboxError, match="closed to runs"):
            await open_(reach=("169.254.169.254:80",))
        with pytest.raises(SandboxError, match="has no IPv4 address"):
            await open_(reach=("no-such-name.example.test:80",))
        assert await guarded.reached(doors, await guarded.place.open(network="none", reach=())) == []
        await first.close()


async def test_what_an_address_was_admitted_to_does_not_stay_for_its_next_run(host: DockerHost, image: str) -> None:
    """Docker gives an address again once its run is gone."""
    doors = [("internet", WORLD, 80), ("internet, another port", WORLD, 81)]
    async with runner(host, image, opened=()) as guarded:
        for port, found in ((80, "internet"), (81, "internet, another port")):
            channel = await guarded.place.open(network=listed_network(NETWORK), reach=(f"{WORLD}:{port}",))
            assert await guarded.reached(doors, channel) == [found]
            await guarded.place.clear()


async def test_rules_that_somebody_removed_are_put_back(
    host: DockerHost, image: str, doors: list[tuple[str, str, int]]
) -> None:
    """Putting them in place again changes nothing; after a flush it closes the network again."""
    async with runner(host, image, opened=()) as guarded:
        assert await guarded.reached(doors) == ["internet"]
        assert guarded.firewall is not None
        before = rules(host, image)
        assert before
        await guarded.firewall.close()
        assert rules(host, image) == before
        for table in re.findall(r"table inet (fastflow_\w+)", before):
            nft(host, image, "delete", "table", "inet", table)
        assert len(await guarded.reached(doors)) > 1
        keeping = asyncio.create_task(guarded.firewall.keep(0.1))
        async with asyncio.timeout(60):
            while rules(host, image).count("table") < before.count("table"):
                await asyncio.sleep(0.1)
        keeping.cancel()
        assert rules(host, image) == before
        assert await guarded.reached(doors) == ["internet"]


async def test_a_firewall_that_cannot_be_set_is_said_and_holds_no_list(host: DockerHost, image: str) -> None:
    """Runs that list nothing go on, as they did before. One that lists what it reaches does not run open."""
    remove = ("--user", "0", "--entrypoint", "rm", image, "/usr/sbin/nft")
    container = host.docker("create", *remove).strip()
    host.docker("start", "--attach", container)
    entry = 'ENTRYPOINT ["/usr/bin/python3","-I","-S","/opt/fastflow/supervisor"]'
    host.docker("commit", "--change", entry, "--change", "USER 65532:65532", container, "no-nft")
    async with runner(host, "no-nft", opened=()) as guarded:
        assert (await guarded.place.run("print(1)")).stdout == b"1\n"
        (said,) = guarded.place.sandboxes.unenforced
        assert "services of their machine" in said
        assert "nft cannot be used" in said
        with pytest.raises(SandboxError, match="nothing can hold it to that"):
            await guarded.place.open(network=listed_network(NETWORK), reach=(f"{WORLD}:80",))
    host.docker("network", "create", "theirs")
    async with runner(host, image, opened=(), network="theirs") as guarded:
        await guarded.place.run("print(1)")
        (said,) = guarded.place.sandboxes.unenforced
        assert "theirs was not made by Fast-Flow" in said
    host.docker("network", "rm", "theirs")
