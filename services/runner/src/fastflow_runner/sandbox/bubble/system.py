"""What a sandbox sees of this machine: its programs and libraries, and of /etc what they need. I/O.

Everything is read-only. Nobody's home, /run, /var, keys, or the password file are among it.
"""

from __future__ import annotations

import compileall
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from fastflow_runner import guest
from fastflow_runner.sandbox import Mount
from fastflow_runner.sandbox.bubble.certificates import Certificates
from fastflow_runner.sandbox.bubble.command import GUEST_PATH, HOST_NAME, WORK, SystemLink

_TOP: Final = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_WHOLE: Final = ("/usr", "/nix/store", "/gnu/store")
_ETC: Final = (
    *("alternatives", "ld.so.cache", "localtime", "timezone", "os-release", "debian_version"),
    *("ssl/certs", "ssl/openssl.cnf", "pki/tls/certs", "pki/tls/cert.pem", "pki/tls/openssl.cnf"),
    *("pki/ca-trust/extracted", "crypto-policies", "mime.types", "protocols", "services"),
    *("gai.conf", "host.conf", "locale.alias", "magic", "fonts", "terminfo"),
)
_SMALL_BYTES: Final = 16 * 1024
"""A file up to this size is written into each sandbox, which is cheaper than a mount."""
_NO_NAMES: Final = b"nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
"""Nothing listens there: a look-up fails at once."""
_PROCESSORS: Final = ("/sys/devices/system/cpu", "/sys/devices/system/node")


class SystemView(msgspec.Struct, frozen=True):
    """What all sandboxes see of this machine."""

    mounts: tuple[Mount, ...]
    links: tuple[SystemLink, ...]
    files: Mapping[str, bytes]
    """Small files, by path, as they are now."""
    python: str
    """Path of the supervisor's interpreter, outside and inside."""
    env: Mapping[str, str]
    """Base of the environment of all sandboxes."""


def system_view(certificates: Certificates | None = None) -> SystemView:
    """Look at this machine.

    Args:
        certificates: What sandboxes trust.
    """
    python = own_python()
    guest_folder = Path(guest.__file__).parent.resolve()
    # Sandboxes see it read-only: without this each of them would compile its supervisor again. It was done at the
    # installation where this process may not write here.
    compileall.compile_dir(guest_folder, quiet=2)
    mounts = [Mount(path, path) for path in _WHOLE if os.path.isdir(path)]
    links = []
    for path in _TOP:
        if os.path.islink(path):
            links.append(SystemLink(os.readlink(path), path))
        elif os.path.isdir(path):
            mounts.append(Mount(path, path))
    files = {}
    for path in (f"/etc/{name}" for name in _ETC):
        if os.path.islink(path) and _is_below(os.path.realpath(path), _WHOLE):
            links.append(SystemLink(os.path.realpath(path), path))
        elif os.path.isfile(path) and os.access(path, os.R_OK) and os.path.getsize(path) <= _SMALL_BYTES:
            files[path] = Path(path).read_bytes()
        elif os.path.exists(path):
            mounts.append(Mount(os.path.realpath(path), path))
    mounts += [Mount(path, path) for path in _PROCESSORS if os.path.isdir(path)]
    prefixes = {os.path.realpath(prefix) for prefix in (sys.base_prefix, sys.base_exec_prefix)}
    mounts += [Mount(prefix, prefix) for prefix in sorted(prefixes) if not _is_below(prefix, _WHOLE)]
    mounts.append(Mount(str(guest_folder), GUEST_PATH))
    env = {"LANG": "C.UTF-8"}
    if certificates is not None:
        mounts.append(Mount(certificates.source, certificates.target))
        env["SSL_CERT_FILE"] = certificates.target
    return SystemView(tuple(mounts), tuple(links), files, python, env)


def own_python() -> str:
    """Return the path of the interpreter that runs the runner, without its environment."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def small_files(user: int, hosts: tuple[str, ...], resolv_conf: bytes) -> Mapping[str, bytes]:
    """Return the files of /etc that are the sandbox's own, by path.

    Args:
        user: The id of all its processes.
        hosts: ``name:address`` of what it can look up, where it cannot ask a name server.
        resolv_conf: Its name servers; empty: none.
    """
    listed = [each.partition(":")[::2] for each in hosts]
    lines = [f"127.0.0.1\tlocalhost {HOST_NAME}", f"::1\tlocalhost {HOST_NAME}"]
    lines += [f"{address}\t{name}" for name, address in listed]
    names = f"root:x:0:0:root:/:/usr/sbin/nologin\nrunner:x:{user}:{user}::{WORK}:/usr/sbin/nologin\n"
    return {
        "/etc/passwd": f"{names}nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n".encode(),
        "/etc/group": f"root:x:0:\nrunner:x:{user}:\nnogroup:x:65534:\n".encode(),
        "/etc/nsswitch.conf": b"passwd: files\ngroup: files\nhosts: files dns\n",
        "/etc/resolv.conf": resolv_conf or _NO_NAMES,
        "/etc/hosts": "".join(f"{line}\n" for line in lines).encode(),
    }


def _is_below(path: str, parents: tuple[str, ...]) -> bool:
    return any(path == parent or path.startswith(f"{parent}/") for parent in parents)
