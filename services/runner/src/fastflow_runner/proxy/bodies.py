"""The bodies that create a container or a network: each must equal what the runner's own code builds. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from fastflow_runner.proxy.request import Denied, Ours, Passed
from fastflow_runner.sandbox import Mount, SandboxSpec
from fastflow_runner.sandbox.docker.config import (
    FIREWALL_PREFIX,
    LABEL_SCOPE,
    LABEL_TOKEN,
    container_config,
    firewall_config,
    network_config,
)
from fastflow_runner.sandbox.naming import LABEL_PREPARER, PREFIX
from fastflow_runner.sandbox.seccomp import security_option

PREPARER_PREFIX: Final = f"{PREFIX}prepare-"

_LABEL: Final = re.compile(r"fastflow\.[a-z]+")
_TMPFS: Final = re.compile(r".*size=(\d{1,13}),nr_inodes=(\d{1,9}),.*")
_NETWORK_ID: Final = re.compile(r"[0-9a-f]{64}")


def check_container(name: str, body: bytes, ours: Ours) -> Passed:
    """Check the body that creates the container *name*. Raises ``Denied``."""
    wanted = read_object(body)
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
        command = read_object(str(text).encode())
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


def check_network(body: bytes, ours: Ours) -> Passed:
    """Check the body that creates a network. Raises ``Denied``."""
    if read_object(body) not in [network_config(name, ours.scope) for name in ours.networks]:
        raise Denied("this is not the network of runs.")
    return Passed()


def read_object(text: bytes) -> dict[str, Any]:
    """Read a JSON object that can be read in one way only. Raises ``Denied``."""
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
