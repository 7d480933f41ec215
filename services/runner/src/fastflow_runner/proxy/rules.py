"""Which requests to the Docker daemon a runner may make. Pure: the server asks the daemon who owns a container.

A container may be created only if the body equals what this runner's own code builds for some sandbox, with an image,
a network and a volume of ours. So everything else that Docker offers (host mounts, devices, capabilities, privileges,
host namespaces) is denied without a list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from fastflow_runner.sandbox import Mount, SandboxSpec
from fastflow_runner.sandbox.docker import LABEL_SCOPE, LABEL_TOKEN, container_config, network_config
from fastflow_runner.sandbox.image import WORKER_REPOSITORY
from fastflow_runner.sandbox.naming import PREFIX

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
_TMPFS: Final = re.compile(r".*size=(\d{1,13}),.*")
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
"""The calls a runner makes for a container, and their query parameters."""
_LIMITS: Final = {"Memory", "MemorySwap", "NanoCpus"}
_BUILD: Final = {"rm": "1", "forcerm": "1", "nocache": "0", "pull": "0", "q": "0"}


class Denied(Exception):
    """The request is not allowed. The message says why."""


class Ours(NamedTuple):
    """What belongs to this installation. ``scope`` is its name, in the labels of everything it makes."""

    scope: str
    images: frozenset[str]
    network: str
    volume: str
    build: Build | None = None
    """The only image that may be built; None: no image."""


class Build(NamedTuple):
    """The exact bytes and arguments of the allowed build."""

    reference: str
    context: bytes
    arguments: Mapping[str, str]


class Request(NamedTuple):
    """``target`` is path and query in their unambiguous form (``plain``)."""

    method: str
    target: str
    body: bytes


class Passed(NamedTuple):
    """An allowed request, if *container*, *image* and *network* carry our label, and *network* has our network's name.

    The daemon must get the full id of *container*: a name, or a prefix of an id, may mean another container by the
    time of the request.
    """

    container: str | None = None
    network: str | None = None
    image: str | None = None
    is_attachment: bool = False


def plain(target: str) -> str:
    """Rewrite *target* without the API version. Raises ``Denied`` if the daemon could read it differently."""
    parts = urlsplit(target)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if len(dict(pairs)) != len(pairs) or parts.scheme or parts.netloc or parts.fragment or "//" in parts.path:
        raise Denied("the request's target is ambiguous")
    version = _VERSION.match(parts.path)
    path = parts.path[version.end() :] if version else parts.path
    return path + (f"?{urlencode(pairs)}" if pairs else "")


def check(request: Request, ours: Ours) -> Passed:
    """Check that a runner of ours would make this request. Raises ``Denied``."""
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
            raise Denied("an image that is used is not removed")
        return Passed(image=found[1])
    known = {f"/images/{image}/json" for image in ours.images}
    known.add(f"/volumes/{ours.volume}")
    if request.method == "GET" and path in known:
        _only(query)
        return Passed()
    if request.method == "DELETE" and (found := _NETWORK.fullmatch(path)):
        _only(query)
        return Passed(network=found[1])
    if found := _CONTAINER.fullmatch(path):
        return _container(request, found["id"], found["rest"] or "", query)
    raise Denied(f"{request.method} {path} is nothing that a runner does")


def _only(query: Mapping[str, str], *known: str) -> None:
    if extra := query.keys() - set(known):
        raise Denied(f"a runner does not say {', '.join(sorted(extra))} here")


def _list(query: Mapping[str, str], ours: Ours) -> Passed:
    _only(query, "all", "filters")
    if _object(query.get("filters", "{}").encode()) != {"label": [f"{LABEL_SCOPE}={ours.scope}"]}:
        raise Denied(f"containers are listed by the label {LABEL_SCOPE}, which is {ours.scope} here")
    return Passed()


def _list_images(query: Mapping[str, str], ours: Ours) -> Passed:
    _only(query, "filters")
    wanted = {"label": [f"{LABEL_SCOPE}={ours.scope}"], "reference": [WORKER_REPOSITORY]}
    if _object(query.get("filters", "{}").encode()) != wanted:
        raise Denied("of images a runner lists its own")
    return Passed()


def _find_network(query: Mapping[str, str], ours: Ours) -> Passed:
    _only(query, "filters")
    if _object(query.get("filters", "{}").encode()) != {"name": [ours.network]}:
        raise Denied("the network of runs is looked for by its name")
    return Passed()


def _container(request: Request, name: str, verb: str, query: Mapping[str, str]) -> Passed:
    if (request.method, verb) not in _CALLS:
        raise Denied(f"{request.method} {verb} of a container is nothing that a runner does")
    _only(query, *_CALLS[request.method, verb])
    if verb == "/rename" and not _NAME.fullmatch(query.get("name", "")):
        raise Denied(f"a sandbox's name begins with {PREFIX}")
    if verb == "/update":
        limits = _object(request.body)
        if not limits.keys() <= _LIMITS or not all(type(value) is int and value > 0 for value in limits.values()):
            raise Denied(f"only {', '.join(sorted(_LIMITS))} of a sandbox are updated")
        if limits.get("Memory") != limits.get("MemorySwap"):
            raise Denied("a sandbox does not swap")
    elif request.body not in (b"", b"{}", b"null"):
        raise Denied(f"{verb} has no body")
    return Passed(container=name, is_attachment=verb == "/attach")


def _create(query: Mapping[str, str], body: bytes, ours: Ours) -> Passed:
    _only(query, "name")
    name = query.get("name", "")
    if not _NAME.fullmatch(name):
        raise Denied(f"a sandbox's name begins with {PREFIX}")
    wanted = _object(body)
    try:
        spec, labels = _sandbox(name, wanted)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise Denied(f"this is no sandbox: {error!r}") from error
    if container_config(spec, labels) != wanted:
        raise Denied("this is no sandbox as a runner makes it")
    if spec.image not in ours.images:
        raise Denied(f"{spec.image} is no image of ours")
    if spec.network not in ("none", ours.network):
        raise Denied(f"{spec.network} is no network of ours")
    if spec.user < 1000:
        raise Denied("nobody in a sandbox is a user of the host's system")
    for mount in spec.mounts:
        if mount.source != ours.volume:
            raise Denied(f"{mount.source} is no volume of ours")
        if not mount.read_only and not name.startswith(PREPARER_PREFIX):
            raise Denied("only a preparer writes to the store")
    if labels.get(LABEL_SCOPE) != ours.scope or LABEL_TOKEN not in labels or not all(map(_LABEL.fullmatch, labels)):
        raise Denied(f"a sandbox carries our labels and no others; its {LABEL_SCOPE} is {ours.scope}")
    return Passed()


def _sandbox(name: str, wanted: Mapping[str, Any]) -> tuple[SandboxSpec, dict[str, str]]:
    """Read *wanted* as a sandbox. The caller builds the body again and compares, which proves it."""
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
        tmp_bytes=_size(host["Tmpfs"]["/tmp"]),  # noqa: S108 - a sandbox's own
        work_bytes=_size(host["Tmpfs"]["/work"]),
        env=dict(line.split("=", 1) for line in wanted["Env"]),
    )
    if not isinstance(spec.processes_max, int) or spec.processes_max < 1:
        raise ValueError("it may have any number of processes")
    labels = {str(key): str(value) for key, value in wanted["Labels"].items()}
    return spec, labels


def _size(options: str) -> int:
    found = _TMPFS.fullmatch(options)
    if not found:
        raise ValueError("a tmpfs without a size")
    return int(found[1])


def _create_network(body: bytes, ours: Ours) -> Passed:
    if ours.network == "none" or _object(body) != network_config(ours.network, ours.scope):
        raise Denied("this is not the network of runs")
    return Passed()


def _build(query: Mapping[str, str], body: bytes, ours: Ours) -> Passed:
    build = ours.build
    if build is None or query.get("t") != build.reference or body != build.context:
        raise Denied("only this version's own worker image is built")
    if _object(query.get("buildargs", "{}").encode()) != dict(build.arguments):
        raise Denied("the worker image is built with other arguments")
    _only(query, "t", "buildargs", "labels", *_BUILD)
    if _object(query.get("labels", "{}").encode()) not in ({}, {LABEL_SCOPE: ours.scope}):
        raise Denied(f"the worker image has no label but {LABEL_SCOPE}, which is {ours.scope} here")
    if any(query.get(name, value) != value for name, value in _BUILD.items()):
        raise Denied("the worker image is built in another way")
    return Passed()


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text, object_pairs_hook=_unambiguous)
    except (ValueError, RecursionError) as error:
        raise Denied(f"the body is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise Denied("the body is no JSON object")
    return found


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Docker uses the last of two equal keys and ignores case. Deny both, so that we read what Docker reads."""
    found = dict(pairs)
    if len({key.lower() for key in found}) != len(pairs):
        raise Denied("a key stands twice in the body")
    return found
