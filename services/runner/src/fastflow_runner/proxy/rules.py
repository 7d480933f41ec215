"""The requests to the Docker daemon that a runner may make. Pure: the server asks the daemon who owns a container.

The proxy allows creating a container only if the body equals what the runner's own code builds for some sandbox, with
our image, network and volume. This denies everything else that Docker offers (host mounts, devices, capabilities,
privileges, host namespaces) without a list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from fastflow_runner.sandbox import Mount, SandboxSpec
from fastflow_runner.sandbox.docker_config import (
    FIREWALL_PREFIX,
    LABEL_SCOPE,
    LABEL_TOKEN,
    container_config,
    firewall_config,
    listed_network,
    network_config,
)
from fastflow_runner.sandbox.image import WORKER_REPOSITORY
from fastflow_runner.sandbox.naming import LABEL_PREPARER, PREFIX
from fastflow_runner.sandbox.seccomp import security_option

BUILD_BYTES_MAX: Final = 4 * 1024 * 1024
PREPARER_PREFIX: Final = f"{PREFIX}prepare-"

_VERSION: Final = re.compile(r"/v1\.\d{1,3}(?=/)")
"""Removed: a daemon treats a request of an older API version as that version did, and we do not know those rules."""
_CONTAINER: Final = re.compile(r"/containers/(?P<id>[A-Za-z0-9][A-Za-z0-9_.-]{0,127})(?P<rest>/[a-z]+)?")
_NETWORK: Final = re.compile(r"/networks/([0-9a-f]{64})")
_OLD_IMAGE: Final = re.compile(rf"/images/({WORKER_REPOSITORY}:[0-9a-f]{{12}})")
_NO: Final = {"0", "false", "False"}
_NAME: Final = re.compile(rf"{PREFIX}[A-Za-z0-9][A-Za-z0-9_.-]{{0,100}}")
_LABEL: Final = re.compile(r"fastflow\.[a-z]+")
_TMPFS: Final = re.compile(r".*size=(\d{1,13}),nr_inodes=(\d{1,9}),.*")
_NETWORK_ID: Final = re.compile(r"[0-9a-f]{64}")
_READ: Final = re.compile(r"/(version|info|_ping)")
_CALLS: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    ("GET", "/json"): frozenset(),
    ("POST", "/attach"): frozenset({"stream", "stdin", "stdout", "stderr", "logs"}),
    ("POST", "/start"): frozenset(),
    ("POST", "/update"): frozenset(),
    ("POST", "/rename"): frozenset({"name"}),
    ("POST", "/wait"): frozenset(),
    ("DELETE", ""): frozenset({"force", "v"}),
}
"""The calls that a runner makes for a container, and their query parameters."""
_LIMITS: Final = {"Memory", "MemorySwap", "NanoCpus"}
_BUILD: Final = {"rm": "1", "forcerm": "1", "nocache": "0", "pull": "0", "q": "0"}


class Denied(Exception):
    """The request is not allowed. The message states the reason."""


class Ours(NamedTuple):
    """What belongs to this installation. ``scope`` is its name, a label of everything that it creates."""

    scope: str
    images: frozenset[str]
    network: str
    volume: str
    build: Build | None = None
    """The only image that runners may build; None = no image."""
    opened: tuple[str, ...] = ()
    """What the operator opens to runs."""
    runtime: str = ""
    """The container runtime of sandboxes; empty: the daemon's usual one."""
    own_seccomp: bool = True
    """Whether system calls are filtered by our profile."""

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks of runs: without and with a list of what each reaches."""
        return () if self.network == "none" else (self.network, listed_network(self.network))


class Build(NamedTuple):
    """The exact bytes and arguments of the allowed build."""

    reference: str
    context: bytes
    arguments: Mapping[str, str]


class Request(NamedTuple):
    """A request. ``target`` is path and query in their unambiguous form (``plain``)."""

    method: str
    target: str
    body: bytes


class Passed(NamedTuple):
    """Allows a request, if *container*, *image* and *networks* carry our label and the networks have our names.

    The daemon must get the full id of *container*: a name or an id's prefix may refer to another container by the time
    of the request.
    """

    container: str | None = None
    networks: tuple[str, ...] = ()
    """Ids."""
    image: str | None = None
    is_attachment: bool = False


def plain(target: str) -> str:
    """Rewrite *target* without the API version. Raises ``Denied`` if the daemon could read it differently."""
    parts = urlsplit(target)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if len(dict(pairs)) != len(pairs) or parts.scheme or parts.netloc or parts.fragment or "//" in parts.path:
        raise Denied("the request's target is ambiguous.")
    version = _VERSION.match(parts.path)
    path = parts.path[version.end() :] if version else parts.path
    return path + (f"?{urlencode(pairs)}" if pairs else "")


def check(request: Request, ours: Ours) -> Passed:
    """Check that our runner would make this request. Raises ``Denied``."""
    parts = urlsplit(request.target)
    path = parts.path
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    call = (request.method, path)
    if call[0] in ("GET", "HEAD") and _READ.fullmatch(path):
        _only(query)
        return Passed()
    match call:
        case ("GET", "/containers/json"):
            return _list(query, ours)
        case ("POST", "/containers/create"):
            return _create(query, request.body, ours)
        case ("GET", "/networks"):
            return _find_network(query, ours)
        case ("POST", "/networks/create"):
            return _create_network(request.body, ours)
        case ("POST", "/build"):
            return _build(query, request.body, ours)
    if request.method == "GET" and path == "/images/json":
        return _list_images(query, ours)
    if request.method == "DELETE" and (found := _OLD_IMAGE.fullmatch(path)) and found[1] not in ours.images:
        _only(query, "force", "noprune")
        if not {query.get("force", "0"), query.get("noprune", "0")} <= _NO:
            raise Denied("removing an image in use is not allowed.")
        return Passed(image=found[1])
    known = {f"/images/{image}/json" for image in ours.images}
    known.add(f"/volumes/{ours.volume}")
    if request.method == "GET" and path in known:
        _only(query)
        return Passed()
    if request.method == "DELETE" and (found := _NETWORK.fullmatch(path)):
        _only(query)
        return Passed(networks=(found[1],))
    if found := _CONTAINER.fullmatch(path):
        return _container(request, found["id"], found["rest"] or "", query)
    raise Denied(f"a runner does not send {request.method} {path}.")


def _only(query: Mapping[str, str], *known: str) -> None:
    if extra := query.keys() - set(known):
        raise Denied(f"a runner does not send {', '.join(sorted(extra))} here.")


def _list(query: Mapping[str, str], ours: Ours) -> Passed:
    _only(query, "all", "filters")
    if _object(query.get("filters", "{}").encode()) != {"label": [f"{LABEL_SCOPE}={ours.scope}"]}:
        raise Denied(f"a runner lists only containers with the label {LABEL_SCOPE}={ours.scope}.")
    return Passed()


def _list_images(query: Mapping[str, str], ours: Ours) -> Passed:
    _only(query, "filters")
    wanted = {"label": [f"{LABEL_SCOPE}={ours.scope}"], "reference": [WORKER_REPOSITORY]}
    if _object(query.get("filters", "{}").encode()) != wanted:
        raise Denied("a runner lists only its own images.")
    return Passed()


def _find_network(query: Mapping[str, str], ours: Ours) -> Passed:
    _only(query, "filters")
    if _object(query.get("filters", "{}").encode()) not in [{"name": [name]} for name in ours.networks]:
        raise Denied(f"a runner looks only for the networks {', '.join(ours.networks)}.")
    return Passed()


def _container(request: Request, name: str, verb: str, query: Mapping[str, str]) -> Passed:
    if (request.method, verb) not in _CALLS:
        raise Denied(f"a runner does not send {request.method} {verb} for a container.")
    _only(query, *_CALLS[request.method, verb])
    if verb == "/rename" and not _NAME.fullmatch(query.get("name", "")):
        raise Denied(f"a sandbox's name begins with {PREFIX}.")
    if verb == "/update":
        limits = _object(request.body)
        if not limits.keys() <= _LIMITS or not all(type(value) is int and value > 0 for value in limits.values()):
            raise Denied(f"a runner updates only {', '.join(sorted(_LIMITS))} of a sandbox.")
        if limits.get("Memory") != limits.get("MemorySwap"):
            raise Denied("a sandbox does not swap.")
    elif request.body not in (b"", b"{}", b"null"):
        raise Denied(f"{verb} must not have a body.")
    return Passed(container=name, is_attachment=verb == "/attach")


def _create(query: Mapping[str, str], body: bytes, ours: Ours) -> Passed:
    _only(query, "name")
    name = query.get("name", "")
    if not _NAME.fullmatch(name):
        raise Denied(f"a sandbox's name begins with {PREFIX}.")
    wanted = _object(body)
    if name.startswith(FIREWALL_PREFIX):
        return _create_firewall(wanted, ours)
    try:
        spec, labels = _sandbox(name, wanted)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise Denied(f"this is not a sandbox: {error!r}.") from error
    if container_config(spec, labels) != wanted:
        raise Denied("the configuration differs from that of a runner's sandbox.")
    if spec.image not in ours.images:
        raise Denied(f"{spec.image} is not our image.")
    if spec.network not in ("none", *ours.networks):
        raise Denied(f"{spec.network} is not our network.")
    if spec.runtime != ours.runtime:
        raise Denied(f"the proxy has FASTFLOW_CONTAINER_RUNTIME={ours.runtime or '(empty)'}; give both the same.")
    if ours.own_seccomp and not spec.own_seccomp:
        raise Denied("the proxy has FASTFLOW_SECCOMP=fastflow; give both the same.")
    if spec.user < 1000:
        raise Denied("the user id of a sandbox must be at least 1000.")
    for mount in spec.mounts:
        if mount.source != ours.volume:
            raise Denied(f"{mount.source} is not our volume.")
        if not mount.read_only and not name.startswith(PREPARER_PREFIX):
            raise Denied("only a preparer writes to the store.")
    if labels.get(LABEL_SCOPE) != ours.scope or LABEL_TOKEN not in labels or not all(map(_LABEL.fullmatch, labels)):
        raise Denied(f"a sandbox must have only our labels, with {LABEL_SCOPE}={ours.scope}.")
    return Passed()


def _create_firewall(wanted: Mapping[str, Any], ours: Ours) -> Passed:
    """The firewall's container: our code, for networks that are ours, opening only what the operator opens."""
    try:
        (text,) = wanted["Cmd"]
        command = _object(str(text).encode())
        labels = {str(key): str(value) for key, value in wanted["Labels"].items()}
        image = str(wanted["Image"])
        closing = command.get("close", {})
        ids = (*closing, command["admit"]) if "admit" in command else (*closing,)
        is_whole = all(map(_NETWORK_ID.fullmatch, ids)) and set(closing.values()) <= {"open", "listed"}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Denied(f"this is not the firewall: {error!r}.") from error
    if not is_whole or command.get("open") != list(ours.opened):
        raise Denied(
            "the firewall is not for our networks, or opens what FASTFLOW_NETWORK_OPEN does not; give both the same."
        )
    if image not in ours.images or firewall_config(image, labels, command) != wanted:
        raise Denied("the configuration differs from that of a runner's firewall.")
    if labels.get(LABEL_SCOPE) != ours.scope or labels.keys() != {LABEL_SCOPE, LABEL_PREPARER}:
        raise Denied(f"the firewall must have only our labels, with {LABEL_SCOPE}={ours.scope}.")
    return Passed(networks=ids)


def _sandbox(name: str, wanted: Mapping[str, Any]) -> tuple[SandboxSpec, dict[str, str]]:
    """Read *wanted* as a sandbox. To prove it, the caller builds the body again and compares."""
    host = wanted["HostConfig"]
    user = int(wanted["User"].partition(":")[0])
    nano_cpus = host.get("NanoCpus")
    spec = SandboxSpec(
        name=name,
        image=str(wanted["Image"]),
        mounts=tuple(
            Mount(source=str(mount["Source"]), target=str(mount["Target"]), read_only=bool(mount["ReadOnly"]))
            for mount in host["Mounts"]
        ),
        network=str(host["NetworkMode"]),
        memory_bytes=host.get("Memory"),
        cpu_cores=None if nano_cpus is None else nano_cpus / 1e9,
        processes_max=host["PidsLimit"],
        user=user,
        tmp_bytes=_sizes(host["Tmpfs"]["/tmp"])[0],  # noqa: S108 - a sandbox's own
        work_bytes=_sizes(host["Tmpfs"]["/work"])[0],
        files_max=_sizes(host["Tmpfs"]["/work"])[1],
        runtime=str(host.get("Runtime", "")),
        own_seccomp=security_option() in host["SecurityOpt"],
        hosts=tuple(str(each) for each in host.get("ExtraHosts", ())),
        env=dict(line.split("=", 1) for line in wanted["Env"]),
    )
    if not isinstance(spec.processes_max, int) or spec.processes_max < 1:
        raise ValueError("the number of processes has no limit")
    labels = {str(key): str(value) for key, value in wanted["Labels"].items()}
    return spec, labels


def _sizes(options: str) -> tuple[int, int]:
    """Return the bytes and the number of files of a file system in memory."""
    found = _TMPFS.fullmatch(options)
    if not found:
        raise ValueError("a tmpfs without a size")
    return int(found[1]), int(found[2])


def _create_network(body: bytes, ours: Ours) -> Passed:
    if _object(body) not in [network_config(name, ours.scope) for name in ours.networks]:
        raise Denied("this is not the network of runs.")
    return Passed()


def _build(query: Mapping[str, str], body: bytes, ours: Ours) -> Passed:
    build = ours.build
    if build is None or query.get("t") != build.reference or body != build.context:
        raise Denied("a runner builds only the worker image of its version.")
    if _object(query.get("buildargs", "{}").encode()) != dict(build.arguments):
        raise Denied("the build arguments differ from a runner's.")
    _only(query, "t", "buildargs", "labels", *_BUILD)
    if _object(query.get("labels", "{}").encode()) not in ({}, {LABEL_SCOPE: ours.scope}):
        raise Denied(f"the worker image may have only the label {LABEL_SCOPE}={ours.scope}.")
    if any(query.get(name, value) != value for name, value in _BUILD.items()):
        raise Denied("the build options differ from a runner's.")
    return Passed()


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text, object_pairs_hook=_unambiguous)
    except (ValueError, RecursionError) as error:
        raise Denied(f"the body is not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise Denied("the body is not a JSON object.")
    return found


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Deny equal keys, ignoring case: Docker uses the last of them, and we must read what Docker reads."""
    found = dict(pairs)
    if len({key.lower() for key in found}) != len(pairs):
        raise Denied("the body repeats a key.")
    return found
