"""What a sandbox of ``bubble`` reaches, tried from inside: as in Docker, see ``tests/docker/test_firewall.py``.

The machine is a network namespace that can reach a metadata service, an internet and a private network.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any, NamedTuple

import pytest

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
import select, socket, sys
doors = [socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True) for port in sys.argv[1:]]
print("open", flush=True)
while True:
    for door in select.select(doors, (), ())[0]:
        door.accept()[0].close()
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
    ("bus by any address", "0.0.0.0", 4222),
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


_RESOLVED = """
set -e
mount --make-rprivate /
rm -rf %(etc)s
cp -a /etc %(etc)s
ln -sf ../run/systemd/resolve/stub-resolv.conf %(etc)s/resolv.conf
cp %(resolver)s %(etc)s/stub-resolv.conf
mount -t tmpfs -o mode=0755 none /run
mkdir -p /run/systemd/resolve
mv %(etc)s/stub-resolv.conf /run/systemd/resolve/stub-resolv.conf
mount --bind %(etc)s /etc
exec "$@"
"""
"""Names as systemd-resolved has them looked up: by a link that leads out of /etc."""


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

    def ask(self, script: str, *, user: bool = False, resolver: str = "", **order: Any) -> dict[str, str]:
        """The same; return the answer, which may be an error."""
        command = (sys.executable, "-m", "tests.support.bubble", json.dumps({"script": script, **order}))
        words = bubble.as_ordinary_user(*command) if user else command
        if resolver:
            bind = _RESOLVED % {"resolver": resolver, "etc": f"{resolver}-etc"}
            words = ("unshare", "--mount", "sh", "-c", bind, "machine", *words)
        done = subprocess.run(
            ("nsenter", f"--net={self.network}", *words),
            cwd=ROOT, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answer: dict[str, str] = json.loads(done.stdout)
        return answer

    def python(self, code: str) -> str:
        """Run a program of ours on this machine, and return what it printed."""
        done = subprocess.run(
            ("nsenter", f"--net={self.network}", sys.executable, "-c", code),
            cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

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
        call(
            "nsenter", inside, "ip", "link", "add", "up0", "type", "veth", "peer", "name", "down0", "netns", str(there)
        )
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


@pytest.mark.slow
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


def test_a_list_is_all_that_its_run_reaches(machine: Machine) -> None:
    """Names lead to the addresses that were looked up, and no other name can be asked for."""
    doors = [*DOORS, ("by name", "localhost.example.test", 80), ("by another name", "api.example.test", 80)]
    for helper in ("pasta", "slirp4netns"):
        assert machine.reached(doors, helper=helper, reach=(f"{WORLD}:80",)) == ["internet"]
        assert machine.reached(doors, helper=helper, reach=(f"{SECOND}:4222",), opened=("host:4222",)) == [
            "bus by its second address"
        ]
    for listed, said in (
        (f"{PRIVATE}:80", "is closed to runs; the operator opens it with FASTFLOW_NETWORK_OPEN"),
        (f"{MACHINE}:4222", "is closed to runs"),
        (f"{METADATA}:80", "is closed to runs"),
        ("127.0.0.1:4222", "is closed to runs"),
        ("no-such-name.invalid:80", "no-such-name.invalid has no IPv4 address"),
        ("bad name:80", "is no host:port"),
    ):
        assert said in machine.ask("", reach=(listed,))["error"]


def test_without_a_network_there_is_nothing_to_reach_and_no_helper(machine: Machine) -> None:
    script = "import os, socket; print([name for _, name in socket.if_nameindex()])"
    assert machine.run(script, network="none") == "['lo']\n"
    assert machine.reached(network="none", reach=()) == []


@pytest.mark.slow
@pytest.mark.parametrize("helper", ["pasta", "slirp4netns"])
@pytest.mark.parametrize("user", [False, True], ids=["root", "user"])
def test_names_are_looked_up_by_the_machine_s_name_server_even_on_its_loopback(
    machine: Machine, tmp_path: Path, helper: str, user: bool
) -> None:
    """And a run with a list has no name server."""
    resolver = tmp_path / "resolv.conf"
    resolver.write_text("# ours\nnameserver 127.0.0.53\nsearch example.test\noptions ndots:1\n")
    doors = [("by name", "any.example.test", 80), *DOORS]
    with serving(machine.network, NAMES):
        said = machine.run("print(open('/etc/resolv.conf').read())", helper=helper, user=user, resolver=str(resolver))
        assert said == "nameserver 198.18.0.3\nsearch example.test\noptions ndots:1\n\n"
        found = machine.reached(doors, helper=helper, user=user, resolver=str(resolver))
        assert found == ["by name", "internet", "internet, another port"]
        listed = machine.reached(doors, helper=helper, resolver=str(resolver), reach=("one.example.test:80",))
        assert listed == ["internet"]
        doors = [("its name", "one.example.test", 80), ("another", "two.example.test", 80)]
        listed = machine.reached(doors, helper=helper, resolver=str(resolver), reach=("one.example.test:80",))
        assert listed == ["its name"]


@pytest.mark.parametrize("user", [False, True], ids=["root", "user"])
def test_a_script_changes_neither_routes_nor_rules_and_sees_no_helper(machine: Machine, user: bool) -> None:
    assert machine.run(ATTACK, user=user) == "['1']\n"


LOOP = """
import socket, time
while True:
    try:
        socket.create_connection(("198.51.100.2", 80), timeout=3).close()
        print("reached", flush=True)
    except OSError as error:
        print(error.strerror or "timeout", flush=True)
    time.sleep(0.02)
"""
RUNNER = """
import asyncio, json, os, signal, sys
from tests.support import bubble
async def main():
    networks = bubble.BubbleNetworks(tools=bubble.tools_of(%r))
    sandboxes = []
    for _ in range(2):
        plan = await networks.plan("fastflow", None)
        end = os.memfd_create("said")
        sandbox = bubble.Blocked(%r, plan, stdout=1 if not sandboxes else 2)
        await networks.join(sandbox.pid, plan)
        sandboxes.append(sandbox)
    print(json.dumps([sandbox.pid for sandbox in sandboxes]), flush=True)
    for sandbox in sandboxes:
        sandbox.go()
    signal.pause()
asyncio.run(main())
"""


def guard_of(pid: int) -> int:
    """Return the process that guards the network of the sandbox *pid*: it has a descriptor of that process."""
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if b"keeper.py" in (each / "cmdline").read_bytes() and any(
                f"Pid:\t{pid}\n" in info.read_text() for info in (each / "fdinfo").iterdir()
            ):
                return int(each.name)
    raise AssertionError("it has no guard")


def helpers_of(pid: int) -> list[int]:
    """Return the processes that carry the packets of the sandbox *pid*."""
    guard, found = guard_of(pid), []
    for each in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(each.read_text().rpartition(")")[2].split()[1]) == guard:
                found.append(int(each.parent.name))
    assert found
    return found


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def two_sandboxes(machine: Machine, helper: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A runner with two sandboxes, which print to its standard output and its standard error."""
    command = ("nsenter", f"--net={machine.network}", sys.executable, "-c", RUNNER % (helper, LOOP))
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        pids: list[int] = json.loads(runner.stdout.readline())
        try:
            yield runner, pids
        finally:
            runner.kill()
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("helper", ["pasta", "slirp4netns"])
def test_a_network_outlives_its_killed_runner_and_ends_with_its_sandbox(machine: Machine, helper: str) -> None:
    with two_sandboxes(machine, helper) as (runner, pids):
        assert runner.stdout is not None
        helpers = [helpers_of(pid) for pid in pids]
        kept = {os.readlink(each) for each in Path(f"/proc/{guard_of(pids[0])}/fd").iterdir()}
        assert not [each for each in kept if each.startswith(("user:", "net:", "socket:"))]
        assert os.readlink(f"/proc/{guard_of(pids[0])}/fd/2") == "/dev/null"
        runner.kill()
        runner.wait()
        assert [runner.stdout.readline() for _ in range(30)] == ["reached\n"] * 30
        for pid, carrying, remaining in zip(pids, helpers, (helpers[1], []), strict=True):
            os.kill(pid, signal.SIGKILL)
            until(lambda those=carrying: all(map(is_gone, those)))
            assert not any(map(is_gone, remaining))


@pytest.mark.parametrize("helper", ["pasta", "slirp4netns"])
def test_a_killed_helper_ends_the_network_of_its_sandbox_only(machine: Machine, helper: str) -> None:
    with two_sandboxes(machine, helper) as (runner, pids):
        assert runner.stdout is not None
        assert runner.stderr is not None
        assert runner.stdout.readline() == "reached\n"
        for pid in helpers_of(pids[0]):
            os.kill(pid, signal.SIGKILL)
        said = (runner.stdout.readline() for _ in range(1000))
        assert "Network is unreachable\n" in said  # before it, what was under way may take its time
        assert [runner.stderr.readline() for _ in range(30)] == ["reached\n"] * 30


@pytest.mark.parametrize("helper", ["pasta", "slirp4netns"])
def test_a_helper_ends_when_the_process_that_guards_it_is_killed(machine: Machine, helper: str) -> None:
    with two_sandboxes(machine, helper) as (_, pids):
        carrying, other = (helpers_of(pid) for pid in pids)
        os.kill(guard_of(pids[0]), signal.SIGKILL)
        until(lambda: all(map(is_gone, carrying)))
        assert not any(map(is_gone, other))


MANY = """
import asyncio, os, sys
from pathlib import Path
from tests.support import bubble
async def one(networks, few):
    async with few:
        await bubble.run_script(networks, "pass", "fastflow", None)
async def main():
    networks = bubble.BubbleNetworks(tools=bubble.tools_of("pasta"))
    few = asyncio.Semaphore(4)
    await one(networks, few)
    before = os.listdir("/proc/self/fd")
    await asyncio.gather(*(one(networks, few) for _ in range(200)))
    assert len(os.listdir("/proc/self/fd")) == len(before)
    keeper = networks._keeper._process.pid
    assert len(os.listdir(f"/proc/{keeper}/fd")) == 4, os.listdir(f"/proc/{keeper}/fd")
    mine = os.readlink("/proc/self/ns/net")
    def others():
        found = []
        for each in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(each / "ns/net") == mine and b"/keeper.py\\0" in (each / "cmdline").read_bytes():
                    found.append(int(each.name))
            except OSError:
                pass
        return [each for each in found if each != keeper]
    async with asyncio.timeout(120):
        while left := others():
            print(left, file=sys.stderr)
            await asyncio.sleep(0.2)
    await networks.close()
    print("clean")
asyncio.run(main())
"""


@pytest.mark.slow
def test_two_hundred_networks_leave_no_process_and_no_descriptor(machine: Machine) -> None:
    assert machine.python(MANY) == "clean\n"


SEVERAL = """
import asyncio, os, signal
from tests.support import bubble
async def main():
    networks = bubble.BubbleNetworks(tools=bubble.tools_of("pasta"))
    plan = await networks.plan("fastflow", None)
    for _ in range(2):
        assert await bubble.run_script(networks, "print(1)", "fastflow", None) == "1\\n"
        os.kill(networks._keeper._process.pid, signal.SIGKILL)
        networks._keeper._process.wait()
    ended = bubble.Blocked("pass", plan)
    ended.kill()
    try:
        await networks.join(ended.pid, plan)
    except bubble.SandboxError as error:
        print(error)
    cancelled = bubble.Blocked("print(2)", plan)
    joining = asyncio.create_task(networks.join(cancelled.pid, plan))
    await asyncio.sleep(0)
    joining.cancel()
    await asyncio.wait([joining])
    cancelled.kill()
    await networks.close()
    await networks.close()
asyncio.run(main())
"""


def test_a_killed_keeper_an_ended_sandbox_and_a_cancelled_call_harm_nothing_else(machine: Machine) -> None:
    assert "gets no network" in machine.python(SEVERAL)


def test_a_machine_without_a_way_out_says_so() -> None:
    bubble.required("bwrap", "pasta", "slirp4netns", "nft", "nsenter")
    with namespace() as pid:
        alone = Machine(f"/proc/{pid}/ns/net")
        said = alone.ask("print(1)", helper="pasta")["error"]
        assert said.startswith("the sandbox gets no network: ")
        assert "pasta ended: " in said


@pytest.mark.parametrize(
    ("present", "said"),
    [
        ((), "install slirp4netns or passt"),
        (("nft",), "install slirp4netns or passt"),
        (("pasta",), "install nftables"),
        (("slirp4netns",), "install nftables"),
        (("pasta", "slirp4netns", "nft"), ""),
    ],
)
def test_what_is_missing_is_said_with_what_to_do(present: tuple[str, ...], said: str) -> None:
    found = find_tools(lambda name, path: f"/usr/bin/{name}" if name in present else None, tun="/dev/null")
    assert said in found.why_not
    assert bool(found.why_not) == bool(said)
    if present:
        assert (found.helper is not None) == (present != ("nft",))
    if found.helper is not None:
        assert found.helper.tells == ("slirp4netns" in present)
    assert "modprobe tun" in find_tools(lambda name, path: name, tun="/no/such/device").why_not


async def test_without_the_tools_a_run_needs_no_network_or_the_machine_s_own() -> None:
    none = NetworkTools(None, "Neither is here.")
    networks = BubbleNetworks(network="fastflow", tools=none)
    assert networks.why_not == "Neither is here."
    assert networks.unenforced == ()
    assert await networks.plan("none", ()) == NetworkPlan()
    for reach in (None, ("example.com:80",)):
        with pytest.raises(SandboxError, match="Neither is here"):
            await networks.plan("fastflow", reach)
    shared = BubbleNetworks(network="host", tools=none)
    assert shared.why_not == ""
    assert "the bus included" in shared.unenforced[0]
    assert (await shared.plan("host", None)).is_shared
    with pytest.raises(SandboxError, match="Neither is here"):  # a list is held to, or there is no run
        await shared.plan("host-listed", ("example.com:80",))
    with pytest.raises(SandboxError, match="Neither is here"):
        await shared.plan("host", ("example.com:80",))


def test_rules_of_openings_of_all_kinds() -> None:
    """The kernel takes them, see above; here is what each kind becomes."""
    opened = (Opening(ip_network("10.1.0.0/16"), None), Opening(ip_network("fd00::/8"), 80), Opening("host", 53))
    text = open_rules(opened, {"192.0.2.2", "127.0.0.1"})
    assert "ip daddr 10.1.0.0/16 accept" in text
    assert "ip daddr { 127.0.0.1, 192.0.2.2 } meta l4proto { tcp, udp } th dport 53 accept" in text
    assert "fd00" not in text
    assert listed_rules(()).count("accept") == 1
