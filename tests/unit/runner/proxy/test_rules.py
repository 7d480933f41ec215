"""The Docker proxy: it passes what a runner needs and denies everything else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from fastflow_runner.proxy.request import Build, Denied, Ours, Passed, Request
from fastflow_runner.proxy.rules import check, plain
from fastflow_runner.sandbox import Mount, SandboxSpec
from fastflow_runner.sandbox.docker.config import (
    LABEL_SCOPE,
    LABEL_TOKEN,
    container_config,
    firewall_config,
    network_config,
)
from fastflow_runner.sandbox.seccomp import security_option

LABELS = {LABEL_SCOPE: "inst", LABEL_TOKEN: "00", "fastflow.keeper": "one"}
BUILD = Build("fastflow-worker:abc", b"tar", {"WORKER_BASE_IMAGE": "debian"})
CURRENT, FORMER = "fastflow-worker:0123456789ab", "fastflow-worker:ba9876543210"
OURS = Ours(
    "inst",
    frozenset({"fastflow-worker:abc", CURRENT}),
    "fastflow",
    "fastflow-store",
    BUILD,
    opened=("10.0.0.5:8080",),
)
STORE = Mount(source="fastflow-store", target="/store")
BUILT = '/v1.41/build?t=fastflow-worker:abc&buildargs={"WORKER_BASE_IMAGE":"debian"}'
RUN = SandboxSpec(
    name="ff-inst-x",
    image="fastflow-worker:abc",
    mounts=(STORE,),
    network="fastflow",
    memory_bytes=64 * 1024**2,
    cpu_cores=0.3,
    env={"A": "b=c"},
)


def post(target: str, body: Any = None) -> Request:
    return Request("POST", f"/v1.41{target}", b"" if body is None else json.dumps(body).encode())


FIREWALL_LABELS = {LABEL_SCOPE: "inst", "fastflow.preparer": "one"}
CLOSE = {"close": {"a" * 64: "open", "b" * 64: "listed"}, "open": ["10.0.0.5:8080"]}
ADMIT = {"admit": "b" * 64, "source": "172.20.0.2", "to": [["1.1.1.1", 443]], "open": ["10.0.0.5:8080"]}


def firewall(command: dict[str, Any], **changes: Any) -> Request:
    config = firewall_config("fastflow-worker:abc", FIREWALL_LABELS, command)
    config["HostConfig"] |= changes.pop("HostConfig", {})
    return create(config | changes, "ff-firewall-1")


def ask(request: Request, ours: Ours = OURS) -> Passed:
    """Ask the rules as the proxy does."""
    return check(request._replace(target=plain(request.target)), ours)


def create(config: Any, name: str = "ff-inst-x") -> Request:
    return post(f"/containers/create?name={name}", config)


@pytest.mark.parametrize(
    "request_",
    [
        Request("GET", "/version", b""),
        Request("GET", "/v1.41/info", b""),
        Request("GET", "/v1.41/images/fastflow-worker:abc/json", b""),
        Request("GET", '/v1.41/networks?filters={"name":["fastflow"]}', b""),
        Request("DELETE", f"/v1.41/networks/{'a' * 64}", b""),
        Request("GET", "/v1.41/volumes/fastflow-store", b""),
        Request("GET", '/images/json?filters={"label":["fastflow.scope=inst"],"reference":["fastflow-worker"]}', b""),
        Request("DELETE", f"/images/{FORMER}?force=False&noprune=False", b""),
        Request("POST", BUILT + '&labels={"fastflow.scope":"inst"}', b"tar"),
        Request("GET", '/v1.41/containers/json?all=1&filters={"label":["fastflow.scope=inst"]}', b""),
        Request("GET", "/v1.41/containers/ff-inst-x/json", b""),
        Request("DELETE", "/v1.41/containers/ff-inst-x?force=1&v=1", b""),
        create(container_config(RUN, LABELS)),
        create(container_config(SandboxSpec(name="x", image=RUN.image), LABELS)),
        create(container_config(replace(RUN, network="fastflow-listed", hosts=("a:1.1.1.1", "b:2.2.2.2")), LABELS)),
        Request("GET", '/v1.41/networks?filters={"name":["fastflow-listed"]}', b""),
        post("/networks/create", network_config("fastflow-listed", "inst")),
        firewall(CLOSE),
        firewall(ADMIT),
        firewall({"look_up": ["db:5432"], "open": ["10.0.0.5:8080"]}),
        post("/networks/create", network_config("fastflow", "inst")),
        post("/containers/abc/attach?stream=1"),
        post("/containers/abc/start"),
        post("/containers/abc/wait"),
        post("/containers/abc/rename?name=ff-inst-y"),
        post("/containers/abc/update", {"Memory": 5, "MemorySwap": 5, "NanoCpus": 9}),
        Request("POST", BUILT, b"tar"),
        Request("POST", f"{BUILT}&rm=1&forcerm=1&nocache=0&pull=0&q=0", b"tar"),
    ],
    ids=lambda request: f"{request.method} {request.target[:40]}",
)
def test_every_request_of_a_runner_passes(request_: Request) -> None:
    """Every call of the Docker backend."""
    ask(request_)


def test_only_a_preparer_writes_to_the_store() -> None:
    """A run may only read it, even if the runner requests more."""
    writable = [Mount(source="fastflow-store", target="/store", read_only=False)]
    spec = SandboxSpec(name="x", image=RUN.image, mounts=tuple(writable))
    ask(create(container_config(spec, LABELS), "ff-prepare-1"))
    with pytest.raises(Denied, match="preparer"):
        ask(create(container_config(spec, LABELS)))


def in_host(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda config: config["HostConfig"].update(values)


def at_top(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda config: config.update(values)


BIND = {"Type": "bind", "Source": "/", "Target": "/store", "ReadOnly": False}
HOSTILE = {
    "privileged": in_host(Privileged=True),
    "a host mount": in_host(Binds=["/:/host"]),
    "a host mount, the other way": in_host(Mounts=[BIND]),
    "a host mount that says it is a volume": in_host(Mounts=[{**BIND, "Type": "volume"}]),
    "a volume that is a host directory": in_host(
        Mounts=[
            {
                "Type": "volume",
                "Source": "fastflow-store",
                "Target": "/store",
                "ReadOnly": True,
                "VolumeOptions": {"DriverConfig": {"Name": "local", "Options": {"o": "bind", "device": "/"}}},
            }
        ]
    ),
    "another volume": in_host(Mounts=[{"Type": "volume", "Source": "other", "Target": "/store", "ReadOnly": True}]),
    "volumes of another container": in_host(VolumesFrom=["x"]),
    "a capability": in_host(CapAdd=["SYS_ADMIN"]),
    "capabilities kept": in_host(CapDrop=[]),
    "no seccomp": in_host(SecurityOpt=["seccomp=unconfined"]),
    "a device": in_host(Devices=[{"PathOnHost": "/dev/sda", "PathInContainer": "/d", "CgroupPermissions": "rwm"}]),
    "the host's network": in_host(NetworkMode="host"),
    "another's network": in_host(NetworkMode="container:nats"),
    "our own services' network": in_host(NetworkMode="fastflow_bus"),
    "a name server": in_host(Dns=["10.0.0.53"]),
    "no bound of files": in_host(Tmpfs={"/tmp": "rw,size=1,mode=1777", "/work": "rw,size=1,mode=0755"}),
    "Docker's seccomp": in_host(SecurityOpt=["no-new-privileges:true"]),
    "half of our seccomp": in_host(SecurityOpt=["no-new-privileges:true", security_option()[:-9] + "}"]),
    "the host's processes": in_host(PidMode="host"),
    "the host's memory": in_host(IpcMode="host"),
    "the host's users": in_host(UsernsMode="host"),
    "another runtime": in_host(Runtime="crun"),
    "another cgroup": in_host(CgroupParent="/"),
    "a writable root": in_host(ReadonlyRootfs=False),
    "a port": in_host(PortBindings={"80/tcp": [{"HostPort": "80"}]}),
    "a restart": in_host(RestartPolicy={"Name": "always"}),
    "no limit of processes": in_host(PidsLimit=-1),
    "a tmpfs over ours": in_host(Tmpfs={"/tmp": "rw,exec,suid"}),
    "another image": at_top(Image="debian:bookworm-slim"),
    "another command": at_top(Cmd=["sh"]),
    "another entry point": at_top(Entrypoint=["sh"]),
    "root": at_top(User="0:0"),
    "root's group": at_top(User="65532:0"),
    "no label": at_top(Labels={}),
    "another installation's label": at_top(Labels={**LABELS, LABEL_SCOPE: "other"}),
    "another's label": at_top(Labels={**LABELS, "com.docker.compose.project": "x"}),
    "networks beside the one": at_top(NetworkingConfig={"EndpointsConfig": {"host": {}}}),
    "the same key in another case": at_top(hostconfig={"Privileged": True}),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_container_that_is_not_a_sandbox_is_denied(change: Callable[[dict[str, Any]], None]) -> None:
    """Unknown options too: the body must equal what the runner's own code builds."""
    config = container_config(RUN, dict(LABELS))
    change(config)
    with pytest.raises(Denied):
        ask(create(config))


@pytest.mark.parametrize(
    "request_",
    [
        firewall({**CLOSE, "open": ["0.0.0.0/0"]}),
        firewall({"close": CLOSE["close"]}),
        firewall({**CLOSE, "close": {"nats": "open"}}),
        firewall({**CLOSE, "close": {"a" * 64: "all"}}),
        firewall({**ADMIT, "admit": "nats"}),
        firewall(CLOSE, Entrypoint=["sh"]),
        firewall(CLOSE, Cmd=["-c", "nft flush ruleset"]),
        firewall(CLOSE, Image="debian:bookworm-slim"),
        firewall(CLOSE, Labels={LABEL_SCOPE: "other", "fastflow.preparer": "one"}),
        firewall(CLOSE, Labels={**FIREWALL_LABELS, "fastflow.keeper": "one"}),
        firewall(CLOSE, HostConfig={"CapAdd": ["NET_ADMIN", "SYS_ADMIN"]}),
        firewall(CLOSE, HostConfig={"Mounts": [BIND]}),
        firewall(CLOSE, HostConfig={"PidMode": "host"}),
        create(container_config(RUN, dict(LABELS)), "ff-firewall-1"),
        create(firewall_config(RUN.image, FIREWALL_LABELS, CLOSE), "ff-inst-x"),
    ],
    ids=range(15),
)
def test_the_firewall_does_only_what_the_operator_set(request_: Request) -> None:
    """It is the only container with a capability and with the host's network."""
    with pytest.raises(Denied):
        ask(request_)


def test_the_networks_of_the_firewall_are_checked_with_the_daemon() -> None:
    """An id says nothing about whose network it is."""
    assert ask(firewall(CLOSE)).networks == ("a" * 64, "b" * 64)
    assert ask(firewall(ADMIT)).networks == ("b" * 64,)


def test_the_runtime_and_the_system_calls_are_the_operators() -> None:
    """A runner cannot take a weaker runtime or filter than the proxy was given."""
    gvisor, docker = OURS._replace(runtime="runsc"), OURS._replace(own_seccomp=False)
    usual, in_gvisor, unfiltered = (
        create(container_config(spec, dict(LABELS)))
        for spec in (RUN, replace(RUN, runtime="runsc"), replace(RUN, own_seccomp=False))
    )
    ask(in_gvisor, gvisor)
    ask(unfiltered, docker)
    for request, ours in ((usual, gvisor), (in_gvisor, OURS)):
        with pytest.raises(Denied, match="FASTFLOW_CONTAINER_RUNTIME"):
            ask(request, ours)
    with pytest.raises(Denied, match="FASTFLOW_SECCOMP"):
        ask(unfiltered)


@pytest.mark.parametrize(
    "body",
    [
        b'{"Image": "x", "Image": "fastflow-worker:abc"}',
        b'{"HostConfig": {"Privileged": false, "privileged": true}}',
        b"[]",
        b"{",
        b"[" * 100_000,
        b"",
    ],
    ids=["twice", "twice in two cases", "a list", "half", "deep", "nothing"],
)
def test_a_body_that_can_be_read_in_two_ways_is_denied(body: bytes) -> None:
    """Docker takes the last of two equal keys, in any case."""
    with pytest.raises(Denied):
        ask(Request("POST", "/v1.41/containers/create?name=ff-inst-x", body))


@pytest.mark.parametrize(
    "request_",
    [
        create(container_config(RUN, LABELS), "nats"),
        post("/containers/abc/exec", {"Cmd": ["sh"]}),
        post("/exec/abc/start", {}),
        post("/containers/abc/rename?name=nats"),
        post("/containers/abc/update", {"PidsLimit": -1}),
        post("/containers/abc/update", {"Memory": 0, "MemorySwap": 0}),
        post("/containers/abc/update", {"Memory": 1, "MemorySwap": -1}),
        post("/containers/abc/start", {"Binds": ["/:/host"]}),
        post("/containers/abc/kill"),
        post("/containers/prune"),
        post("/commit?container=abc"),
        post("/images/create?fromImage=evil"),
        post("/volumes/create", {"Name": "fastflow-store"}),
        post("/networks/create", {**network_config("fastflow", "inst"), "Driver": "host"}),
        post("/networks/create", network_config("other", "inst")),
        post("/networks/create", network_config("fastflow", "other")),
        post("/networks/fastflow/connect", {"Container": "nats"}),
        post(f"/networks/{'a' * 64}/connect", {"Container": "nats"}),
        post("/containers/abc/start?checkpoint=x&checkpoint-dir=/etc"),
        post("/containers/abc/attach?detachKeys=a"),
        post("/containers/abc/attach/ws?stream=1"),
        post("/containers/abc/wait?condition=removed"),
        post("/containers/abc/copy", {"Resource": "/etc/shadow"}),
        post("/containers/abc/resize?h=1&w=1"),
        post("/containers/create?name=ff-inst-x&platform=linux/arm64", container_config(RUN, LABELS)),
        post("/containers/ABC/../nats/start"),
        post("/containers/%6eats/start"),
        post("/containers/abc%2f..%2fnats/start"),
        post("/Containers/create?name=ff-inst-x", container_config(RUN, LABELS)),
        post("/containers/Create?name=ff-inst-x", container_config(RUN, LABELS)),
        post("/containers/v1.41/create?name=ff-inst-x", container_config(RUN, LABELS)),
        post("/v1.41/containers/create?name=ff-inst-x", container_config(RUN, LABELS)),
        post("/containers/abc/v1.41/start"),
        post("/images/fastflow-worker:abc/tag?repo=debian&tag=bookworm-slim"),
        post("/images/load"),
        post("/session"),
        post("/grpc"),
        post("/plugins/pull?remote=evil"),
        post("/swarm/init", {}),
        Request("post", "/v1.41/containers/abc/start", b""),
        Request("HEAD", "/v1.41/containers/abc/archive?path=/", b""),
        Request("DELETE", "/v1.41/containers/abc?force=1&v=1&link=1", b""),
        Request("GET", "/v1.41/containers/abc/json?size=1", b""),
        Request("GET", "/v1.41/containers/abc/logs?stdout=1", b""),
        Request("GET", '/v1.41/containers/json?size=1&filters={"label":["fastflow.scope=inst"]}', b""),
        Request("GET", '/v1.41/containers/json?filters={"label":["fastflow.scope=other"]}', b""),
        Request("GET", '/v1.41/containers/json?filters={"label":["fastflow.scope=inst"],"label":[]}', b""),
        Request("GET", '/v1.41/containers/json?filters={"label":{"fastflow.scope=inst":true}}', b""),
        Request("GET", "/v1.41/events", b""),
        Request("GET", "/v1.41/system/df", b""),
        Request("GET", "/v1.41/containers/json?all=1", b""),
        Request("GET", '/v1.41/containers/json?filters={"label":["x"]}', b""),
        Request("GET", "/v1.41/containers/abc/archive?path=/", b""),
        Request("PUT", "/v1.41/containers/abc/archive?path=/", b"tar"),
        Request("GET", "/v1.41/containers/abc/export", b""),
        Request("GET", "/v1.41/containers/../secrets/json", b""),
        Request("GET", "/v1.41/secrets", b""),
        Request("GET", "/v1.41/networks", b""),
        Request("DELETE", "/v1.41/networks/fastflow", b""),
        Request("GET", "/v1.41/images/other/json", b""),
        Request("DELETE", "/v1.41/images/fastflow-worker:abc", b""),
        Request("DELETE", f"/v1.41/images/{CURRENT}", b""),
        Request("DELETE", f"/v1.41/images/{FORMER}?force=true", b""),
        Request("DELETE", "/v1.41/images/debian:bookworm-slim", b""),
        Request("GET", "/v1.41/images/json", b""),
        Request("GET", '/v1.41/images/json?filters={"label":["fastflow.scope=other"]}', b""),
        Request("POST", "/v1.41/build?t=fastflow-worker:abc&buildargs={}", b"tar"),
        Request("POST", '/v1.41/build?t=fastflow-worker:abc&buildargs={"WORKER_BASE_IMAGE":"debian"}', b"other"),
        Request("POST", "/v1.41/build?t=evil", b"tar"),
        Request("POST", f"{BUILT}&pull=1", b"tar"),
        Request("POST", BUILT + '&labels={"fastflow.scope":"other"}', b"tar"),
        Request("POST", BUILT + '&labels={"fastflow.scope":"inst","more":"x"}', b"tar"),
        Request("POST", f"{BUILT}&remote=http://evil", b""),
        Request("POST", f"{BUILT}&dockerfile=other", b"tar"),
        Request("POST", f"{BUILT}&T=evil", b"tar"),
        Request(
            "POST",
            '/build?t=fastflow-worker:abc&networkmode=host&buildargs={"WORKER_BASE_IMAGE":"debian"}',
            b"tar",
        ),
    ],
    ids=lambda request: f"{request.method} {request.target[:50]}",
)
def test_other_requests_are_denied(request_: Request) -> None:
    """No exec, no file copied in or out, no image pulled, no container of others."""
    with pytest.raises(Denied):
        ask(request_)


@pytest.mark.parametrize(
    "target", ["/a?name=ff-x&name=nats", "http://elsewhere/a", "//elsewhere/a", "/a//b", "/a#b", "//["]
)
def test_a_target_that_can_be_read_in_two_ways_is_denied(target: str) -> None:
    """Otherwise the proxy would judge one reading, and the daemon would do the other."""
    with pytest.raises(Denied):
        plain(target)


@pytest.mark.parametrize("version", ["/v1.41", "/v1.12", "/v1.999", ""])
def test_a_runner_cannot_choose_the_api_version(version: str) -> None:
    """An older one has other defaults for missing fields, such as the host's cgroups."""
    assert plain(f"{version}/containers/create?name=x") == "/containers/create?name=x"


def test_a_target_is_passed_on_as_it_was_read() -> None:
    """Go drops parameters with a semicolon, and unescapes the path."""
    assert plain("/v1.41/a?x=1;y=2&z=%26%3D") == "/a?x=1%3By%3D2&z=%26%3D"
    assert plain("/a\t\nb?x=%zz") == "/ab?x=%25zz"
