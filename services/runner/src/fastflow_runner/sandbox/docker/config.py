"""What a runner asks of Docker: the bodies that create a sandbox, its network and the firewall's container. Pure.

``proxy.rules`` allows exactly these bodies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from fastflow_runner.sandbox import Mount, SandboxSpec
from fastflow_runner.sandbox.naming import PREFIX
from fastflow_runner.sandbox.seccomp import security_option

LABEL_SCOPE: Final = "fastflow.scope"
LABEL_TOKEN: Final = "fastflow.token"  # noqa: S105 - tells two sandboxes apart; no secret
SHM_BYTES: Final = 1 << 40
"""Size of /dev/shm: no separate bound. What a script puts there counts as its memory, which has a limit; and the
limit of a warm sandbox changes when a run takes it, while this size cannot.
"""
NO_NAME_SERVER: Final = "127.0.0.1"
"""Of a sandbox with a list of destinations: nothing listens there, and names could carry data to anywhere."""
FIREWALL_PREFIX: Final = f"{PREFIX}firewall-"
FIREWALL_IMAGE_PATH: Final = "/opt/fastflow/firewall"
FIREWALL_BYTES: Final = 256 * 1024 * 1024


def container_config(spec: SandboxSpec, labels: dict[str, str]) -> dict[str, Any]:
    """Return the body of the daemon's create call for a sandbox. The proxy allows no other body."""
    host: dict[str, Any] = {
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true", *([security_option()] if spec.own_seccomp else [])],
        "Privileged": False,
        "ReadonlyRootfs": True,
        # exec: Python loads compiled extensions of packages from here.
        "Tmpfs": {
            "/tmp": f"rw,nosuid,nodev,exec,size={spec.tmp_bytes},nr_inodes={spec.files_max},mode=1777",  # noqa: S108
            "/work": f"rw,nosuid,nodev,exec,size={spec.work_bytes},nr_inodes={spec.files_max},uid={spec.user},"
            f"gid={spec.user},mode=0755",
        },
        "Mounts": [_mount(mount) for mount in spec.mounts],
        "PidsLimit": spec.processes_max,
        "OomScoreAdj": 500,
        "Ulimits": [
            {"Name": "core", "Soft": 0, "Hard": 0},
            {"Name": "nofile", "Soft": 4096, "Hard": 4096},
        ],
        "LogConfig": {"Type": "none"},
        "IpcMode": "private",
        "ShmSize": SHM_BYTES,
        "NetworkMode": spec.network,
        "RestartPolicy": {"Name": "no"},
        "AutoRemove": False,
    }
    host |= limits_config(spec)
    if spec.runtime:
        host["Runtime"] = spec.runtime
    if spec.hosts:
        impatient = ["timeout:1", "attempts:1"]
        host |= {"ExtraHosts": list(spec.hosts), "Dns": [NO_NAME_SERVER], "DnsOptions": impatient}
    return {
        "Image": spec.image,
        "Labels": labels,
        "User": f"{spec.user}:{spec.user}",
        "Env": [f"{name}={value}" for name, value in spec.env.items()],
        "OpenStdin": True,
        "StdinOnce": False,
        "Tty": False,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "StopSignal": "SIGKILL",
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": host,
    }


def network_config(name: str, scope: str) -> dict[str, Any]:
    """Return the body of the call that creates the network of runs: a bridge that isolates its containers."""
    return {
        "Name": name,
        "Driver": "bridge",
        "CheckDuplicate": True,
        "Options": {"com.docker.network.bridge.enable_icc": "false"},
        "Labels": {LABEL_SCOPE: scope},
    }


def listed_network(name: str) -> str:
    """Return the name of the network of runs that list what they reach, beside the network *name* of all others."""
    return f"{name}-listed"


def firewall_config(image: str, labels: dict[str, str], command: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body that creates the firewall's container: in the network of the daemon's host, for one command.

    It runs our code only, has no mount and no way to get another capability.
    """
    spec = SandboxSpec(name="", image=image, network="host", processes_max=16, memory_bytes=FIREWALL_BYTES)
    config = container_config(spec, labels)
    # runc, whatever the daemon's usual runtime is: another kernel's rules would not be this host's.
    config["HostConfig"] |= {"CapAdd": ["NET_ADMIN"], "Runtime": "runc"}
    return config | {
        "User": "0:0",
        "OpenStdin": False,
        "AttachStdin": False,
        "Entrypoint": ["/usr/bin/python3", "-I", "-S", FIREWALL_IMAGE_PATH],
        "Cmd": [json.dumps(command, sort_keys=True)],
    }


def limits_config(spec: SandboxSpec) -> dict[str, Any]:
    """Return the body of the call that sets the limits of a sandbox."""
    limits: dict[str, Any] = {}
    if spec.memory_bytes is not None:
        limits |= {"Memory": spec.memory_bytes, "MemorySwap": spec.memory_bytes}
    if spec.cpu_cores is not None:
        limits |= {"NanoCpus": round(spec.cpu_cores * 1e9)}
    return limits


def _mount(mount: Mount) -> dict[str, Any]:
    return {
        "Type": "bind" if mount.source.startswith("/") else "volume",
        "Source": mount.source,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
    }
