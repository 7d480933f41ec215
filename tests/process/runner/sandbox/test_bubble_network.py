"""What a sandbox of ``bubble`` reaches, tried from inside: as in Docker, see ``tests/docker/test_firewall.py``.

The machine is a network namespace that can reach a metadata service, an internet and a private network.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from fastflow_runner.guest.firewall.openings import Opening
from fastflow_runner.sandbox import SandboxError
from fastflow_runner.sandbox.bubble.network import BubbleNetworks, NetworkPlan
from fastflow_runner.sandbox.bubble.network_rules import listed_rules, open_rules
from fastflow_runner.sandbox.bubble.network_tools import NetworkTools, find_tools
from tests.support import bubble

ROOT = Path(__file__).parents[4]
MACHINE, WORLD, PRIVATE, METADATA = "198.51.100.1", "198.51.100.2", "10.99.99.99", "169.254.169.254"
DOCKER_BRIDGE, SECOND = "172.17.0.1", "203.0.113.7"
LISTEN = """
import signal, socket, sys
doors = [socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True) for port in sys.argv[1:]]
print("open", flush=True)
signal.pause()
"""
NAMES = """
import socket, struct
door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
door.bind(("127.0.0.53", 53))
print("open", flush=True)
while True:
    asked, back = door.recvfrom(512)
    end = asked.index(0, 12) + 5
    is_a = asked[end - 4:end - 2] == bytes((0, 1))
    answer = struct.pack("!HHHIH4s", 0xC00C, 1, 1, 60, 4, socket.inet_aton("198.51.100.2")) if is_a else b""
    door.sendto(asked[:2] + struct.pack("!HHHHH", 0x8180, 1, is_a, 0, 0) + asked[12:end] + answer, back)
"""
TRY = """
import json, socket
def reaches(host, port, device=None):
    for family, kind, proto, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        with socket.socket(family, kind, proto) as door:
            door.settimeout(3)
            try:
                if device:
                    door.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
                door.connect(address)
                return True
            except OSError:
                pass
    return False
def reached(name, *door):
    try:
        return reaches(*door)
    except OSError:
        return False
print(json.dumps([name for name, *door in %s if reached(name, *door)]))
"""
DOORS: list[tuple[Any, ...]] = [
    ("bus on the machine's loopback", "127.0.0.1", 4222),
    ("the same, by IPv6", "::1", 4222),
    ("bus by the machine's address", MACHINE, 4222),
    ("bus by its second address", SECOND, 4222),
    ("bus at Docker's bridge", DOCKER_BRIDGE, 4222),
    ("bus by the gateway of the sandbox", "198.18.0.2", 4222),
    ("bus by the name server of the sandbox", "198.18.0.3", 4222),
    ("bus by any address", "0.0.0.0", 4222),  # noqa: S104
    ("bus by an IPv4 address in IPv6", f"::ffff:{MACHINE}", 4222),
    ("bus by the machine's IPv6 address", "fd00:51::1", 4222),
    ("metadata", METADATA, 80),
    ("metadata of the machine", "169.254.170.2", 80),
    ("metadata by IPv6", "fd00:ec2::254", 80),
    ("private network", PRIVATE, 80),
    ("private network, another port", PRIVATE, 81),
    ("private network, past the routes", PRIVATE, 80, "eth0"),
    ("metadata, past the routes", METADATA, 80, "eth0"),
    ("the machine, past the routes", MACHINE, 4222, "eth0"),
    ("internet by IPv6", "fd00:51::2", 80),
    ("internet", WORLD, 80),
    ("internet, another port", WORLD, 81),
]
ATTACK = """
import ctypes, os, socket
def tried(name, attack):
    try:
        attack()
    except OSError:
        return
    print(name)
def netlink(kind):  # a change of routes, or of rules: refused to all who do not own the namespace
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, kind) as door:
        type_ = 24 if kind == 0 else 0x10
        message = bytes((20 + 8, 0, 0, 0, type_, 0, 5, 4, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
        door.send(message)
        answer = door.recv(4096)
        if int.from_bytes(answer[16:20], "little", signed=True) in (-1, -13):
            raise PermissionError
def namespace():
    if ctypes.CDLL(None).unshare(0x10000000) != 0:
        raise PermissionError
tried("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
tried("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x300))
tried("routes", lambda: netlink(0))
tried("rules", lambda: netlink(12))
tried("tun", lambda: open("/dev/net/tun", "r+b"))
tried("namespace", namespace)
print(sorted(each for each in os.listdir("/proc") if each.isdigit()))
"""


def call(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=60)


class Machine(NamedTuple):
    """The machine of the runs."""

    network: str

    def run(self, script: str, *, user: bool = False, **order: Any) -> str:
        """Run *script* in a sandbox of this machine, whose runner is root or an ordinary user."""
        answer = self.ask(script, user=user, **order)
        assert "said" in answer, answer
        return str(answer["said"])

    def ask(self, script: str, *, user: bool = False, **order: Any) -> dict[str, str]:
        """The same; return the answer, which may be an error."""
        command = (sys.executable, "-m", "tests.support.bubble", json.dumps({"script": script, **order}))
        done = subprocess.run(
            ("nsenter", f"--net={self.network}", *(bubble.as_ordinary_user(*command) if user else command)),
            cwd=ROOT, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answer: dict[str, str] = json.loads(done.stdout)
        return answer

    def reached(self, doors: list[tuple[Any, ...]] = DOORS, **order: Any) -> list[str]:
        """Return the names of *doors* that a script gets through."""
        found: list[str] = json.loads(self.run(TRY % doors, **order))
        return found


@contextmanager
def serving(network: str, program: str, *words: str) -> Iterator[None]:
    command = ["nsenter", f"--net={network}", sys.executable, "-c", program, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"open\n"
            yield
        finally:
            process.kill()


@contextmanager
def namespace() -> Iterator[int]:
    """A network namespace, as the id of its process."""
    with subprocess.Popen(
        ("unshare", "--net", "sh", "-c", "ip link set lo up; echo made; exec sleep infinity"), stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"made\n"
            yield process.pid
        finally:
            process.kill()


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    bubble.required("bwrap", "pasta", "slirp4netns", "nft", "ip", "nsenter", "setpriv")
    with ExitStack() as stack:
        here, there = (stack.enter_context(namespace()) for _ in range(2))
        inside, beyond = (f"--net=/proc/{pid}/ns/net" for pid in (here, there))
        call("nsenter", inside, "ip", "link", "add", "up0", "type", "veth", "peer", "name", "down0", "netns", str(there))
        for at, link, addresses in (
            (inside, "up0", (f"{MACHINE}/24", f"{SECOND}/32", f"{DOCKER_BRIDGE}/32", "169.254.170.2/32")),
            (beyond, "down0", (f"{WORLD}/24", f"{METADATA}/32", f"{PRIVATE}/32")),
        ):
            call("nsenter", at, "ip", "link", "set", link, "up")
            for address in addresses:
                call("nsenter", at, "ip", "address", "add", address, "dev", link)
        for at, link, address in ((inside, "up0", "fd00:51::1/64"), (beyond, "down0", "fd00:51::2/64")):
            call("nsenter", at, "ip", "address", "add", address, "dev", link, "nodad")
        call("nsenter", beyond, "ip", "address", "add", "fd00:ec2::254/128", "dev", "down0", "nodad")
        call("nsenter", inside, "ip", "route", "add", "default", "via", WORLD)
        call("nsenter", inside, "ip", "route", "add", "default", "via", "fd00:51::2")
        stack.enter_context(serving(f"/proc/{here}/ns/net", LISTEN, "80", "4222"))
        stack.enter_context(serving(f"/proc/{there}/ns/net", LISTEN, "80", "81"))
        yield Machine(f"/proc/{here}/ns/net")


@pytest.mark.parametrize("helper", ["pasta", "slirp4netns"])
@pytest.mark.parametrize("user", [False, True], ids=["root", "user"])
def test_a_run_reaches_the_internet_but_neither_metadata_nor_the_machine_nor_private_networks(
    machine: Machine, helper: str, user: bool
) -> None:
    assert machine.reached(helper=helper, user=user) == ["internet", "internet, another port"]


@pytest.mark.parametrize("helper", ["pasta", "slirp4netns"])
def test_what_is_closed_is_reached_where_the_operator_opens_it(machine: Machine, helper: str) -> None:
    """So each of these doors is open to the helper, and it is the rules that close it."""
    assert machine.reached(helper=helper, opened=("host:4222", f"{PRIVATE}:80", METADATA)) == [
        "bus by the machine's address",
        "bus by its second address",
        "bus at Docker's bridge",
        "bus by an IPv4 address in IPv6",
        "metadata",
        "private network",
        "private network, past the routes",
        "metadata, past the routes",
        "the machine, past the routes",
        "internet",
        "internet, another port",
    ]
    assert machine.reached(helper=helper, opened=("10.99.0.0/16",))[:2] == [
        "private network",
        "private network, another port",
    ]
