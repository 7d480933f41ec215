"""The requests to the Docker daemon that a runner may make. Pure: the server asks the daemon who owns a container.

The proxy allows creating a container only if the body equals what the runner's own code builds for some sandbox, with
our image, network and volume. This denies everything else that Docker offers (host mounts, devices, capabilities,
privileges, host namespaces) without a list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from fastflow_runner.proxy.bodies import check_container, check_network, read_object
from fastflow_runner.proxy.request import Denied, Ours, Passed, Request
from fastflow_runner.sandbox.docker.config import LABEL_SCOPE
from fastflow_runner.sandbox.docker.image import WORKER_REPOSITORY
from fastflow_runner.sandbox.naming import PREFIX

BUILD_BYTES_MAX: Final = 4 * 1024 * 1024

_VERSION: Final = re.compile(r"/v1\.\d{1,3}(?=/)")
"""Removed: a daemon treats a request of an older API version as that version did, and we do not know those rules."""
_CONTAINER: Final = re.compile(r"/containers/(?P<id>[A-Za-z0-9][A-Za-z0-9_.-]{0,127})(?P<rest>/[a-z]+)?")
_NETWORK: Final = re.compile(r"/networks/([0-9a-f]{64})")
_OLD_IMAGE: Final = re.compile(rf"/images/({WORKER_REPOSITORY}:[0-9a-f]{{12}})")
_NO: Final = {"0", "false", "False"}
_NAME: Final = re.compile(rf"{PREFIX}[A-Za-z0-9][A-Za-z0-9_.-]{{0,100}}")
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


def plain(target: str) -> str:
    """Rewrite *target* without the API version. Raises ``Denied`` if the daemon could read it differently."""
    try:
        parts = urlsplit(target)
        pairs = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError as error:
        raise Denied("the request's target is no address.") from error
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
            return check_network(request.body, ours)
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
    if read_object(query.get("filters", "{}").encode()) != {"label": [f"{LABEL_SCOPE}={ours.scope}"]}:
        raise Denied(f"a runner lists only containers with the label {LABEL_SCOPE}={ours.scope}.")
    return Passed()


def _list_images(query: Mapping[str, str], ours: Ours) -> Passed:
    _only(query, "filters")
    wanted = {"label": [f"{LABEL_SCOPE}={ours.scope}"], "reference": [WORKER_REPOSITORY]}
    if read_object(query.get("filters", "{}").encode()) != wanted:
        raise Denied("a runner lists only its own images.")
    return Passed()


def _find_network(query: Mapping[str, str], ours: Ours) -> Passed:
    _only(query, "filters")
    if read_object(query.get("filters", "{}").encode()) not in [{"name": [name]} for name in ours.networks]:
        raise Denied(f"a runner looks only for the networks {', '.join(ours.networks)}.")
    return Passed()


def _container(request: Request, name: str, verb: str, query: Mapping[str, str]) -> Passed:
    if (request.method, verb) not in _CALLS:
        raise Denied(f"a runner does not send {request.method} {verb} for a container.")
    _only(query, *_CALLS[request.method, verb])
    if verb == "/rename" and not _NAME.fullmatch(query.get("name", "")):
        raise Denied(f"a sandbox's name begins with {PREFIX}.")
    if verb == "/update":
        limits = read_object(request.body)
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
    return check_container(name, body, ours)


def _build(query: Mapping[str, str], body: bytes, ours: Ours) -> Passed:
    build = ours.build
    if build is None or query.get("t") != build.reference or body != build.context:
        raise Denied("a runner builds only the worker image of its version.")
    if read_object(query.get("buildargs", "{}").encode()) != dict(build.arguments):
        raise Denied("the build arguments differ from a runner's.")
    _only(query, "t", "buildargs", "labels", *_BUILD)
    if read_object(query.get("labels", "{}").encode()) not in ({}, {LABEL_SCOPE: ours.scope}):
        raise Denied(f"the worker image may have only the label {LABEL_SCOPE}={ours.scope}.")
    if any(query.get(name, value) != value for name, value in _BUILD.items()):
        raise Denied("the build options differ from a runner's.")
    return Passed()
