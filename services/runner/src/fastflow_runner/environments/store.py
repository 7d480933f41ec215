"""The environment store as the runner sees it: requests, their keys, and where preparers run. Pure.

``prepare`` documents the store's layout and who may write what. ``environments`` starts preparers.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NewType

import msgspec
from uv import find_uv_bin

from fastflow_contracts.bus.subjects import Kind
from fastflow_contracts.pipelines.folder.bundle import File, unpack
from fastflow_contracts.pipelines.folder.discovery import SCRIPT
from fastflow_contracts.pipelines.folder.pep723 import read_inline
from fastflow_runner.guest import cells, prepare
from fastflow_runner.guest.prepare.layout import lock_byte
from fastflow_runner.sandbox import Mount
from fastflow_runner.sandbox.image import WORKER_PYTHON
from fastflow_runner.sandbox.job import Hold

EnvironmentKey = NewType("EnvironmentKey", str)
"""32 hex digits."""

STORE_PATH: Final = "/store"
"""Mount point of the store in containers; the worker image makes it."""

_RECIPE: Final = "1"  # to be raised when ``prepare`` makes environments that differ from those it made before
_REQUIREMENTS: Final = ("requirements.txt.lock", "requirements.txt")
_KERNEL: Final = "ipykernel>=6"
"""What a notebook needs of its own environment."""
_NAMED: Final = re.compile(rb"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)", re.MULTILINE)
_PASSED_ON: Final = frozenset(
    (
        *("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INDEX_STRATEGY", "UV_FIND_LINKS"),
        *("UV_OFFLINE", "UV_INSECURE_HOST", "UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES", "UV_EXCLUDE_NEWER", "UV_PRERELEASE"),
        *("UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "UV_PYTHON_INSTALL_MIRROR", "UV_PYTHON_DOWNLOADS"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    )
)
_PASSED_ON_PREFIX: Final = "UV_INDEX_"  # a named index' user and password
_PASSED_ON_HOST: Final = frozenset(("SSL_CERT_FILE", "SSL_CERT_DIR"))  # paths of this host


class EnvironmentRequest(msgspec.Struct, frozen=True):
    """What an environment must contain."""

    python_version: str
    """Such as ``3.12`` or ``3.12.4``; empty: the sandbox's own."""
    requirements: bytes = b""
    """A requirements file; empty: no packages."""
    extras: tuple[str, ...] = ()
    """Requirements beside the file: those that the script names, or our own for packages it does not name."""

    @property
    def file(self) -> bytes:
        """All requirements as one file."""
        return (
            b"\n".join((self.requirements, *(extra.encode() for extra in self.extras), b""))
            if self.extras
            else (self.requirements)
        )


class ReadyEnvironment(msgspec.Struct, frozen=True):
    """An environment that is ready to use."""

    python: str | None
    """The interpreter's path inside the sandbox; None: the sandbox's own."""
    hold: Hold | None = None
    """The lock that keeps it in the store while a run uses it."""
    seconds: float = 0.0
    """How long it took."""


CELL_RUNNER: Final = EnvironmentRequest("", (Path(cells.__file__).parent / "requirements.lock").read_bytes())
"""The environment of the cell runner: ours, whatever the pipeline's own holds."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where preparers run, and the paths inside their sandboxes and those of runs."""

    store: str
    """The store's path inside a sandbox, the same for preparers and runs."""
    writable: tuple[Mount, ...] = ()
    """How a preparer gets the store."""
    readable: tuple[Mount, ...] = ()
    """How a run gets it."""
    image: str = ""
    network: str = "none"
    script: str
    """``prepare`` inside the sandbox."""
    cell_runner: str
    """``cells`` inside the sandbox."""
    uv: str
    own_version: str
    """The version of the sandbox's own interpreter, two numbers."""
    own_python: str
    """Its path."""
    bare: bool
    """Whether runs without packages may use it as it is."""
    on_host: bool
    """Whether the store's path is one of this host, and preparers are of this process' own user."""
    platform: str
    """Whatever else decides whether an environment can be used."""

    def python(self, key: EnvironmentKey) -> str:
        """The interpreter of an environment."""
        return f"{self.store}/envs/{key}/bin/python"

    def prepared(self, key: EnvironmentKey, seconds: float = 0.0) -> ReadyEnvironment:
        """The environment of *key*, which was ready when last checked."""
        python = self.python(key)
        return ReadyEnvironment(python, Hold(f"{self.store}/locks", lock_byte(key), python), seconds)


def docker_place(*, image: str, base_image: str, volume: str, network: str, architecture: str) -> Place:
    """Preparers are containers of the worker image; the store is a named volume.

    ``architecture``: the daemon's. ``base_image``: what the worker image was built from.
    """
    return Place(
        store=STORE_PATH,
        writable=(Mount(source=volume, target=STORE_PATH, read_only=False),),
        readable=(Mount(source=volume, target=STORE_PATH),),
        image=image,
        network=network,
        script="/opt/fastflow/prepare",
        cell_runner="/opt/fastflow/cells",
        uv="/usr/local/bin/uv",
        own_version=WORKER_PYTHON,
        own_python="/usr/bin/python3",
        bare=True,
        on_host=False,
        platform=f"docker {architecture} {base_image}",
    )


def process_place(directory: Path) -> Place:
    """Preparers are processes of this user; the store is *directory*.

    The interpreter that runs the runner has the runner's own packages, so no run may use it as it is.
    """
    own_python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    return Place(
        store=str(directory.absolute()),
        script=str(Path(prepare.__file__).parent),
        cell_runner=str(Path(cells.__file__).parent),
        uv=find_uv_bin(),
        own_version=f"{sys.version_info.major}.{sys.version_info.minor}",
        own_python=own_python,
        bare=False,
        on_host=True,
        platform=f"process {platform.machine()} {platform.system()}",
    )


def requests_of(python_version: str, bundle: bytes, kind: Kind = "script") -> tuple[EnvironmentRequest, ...]:
    """The environments that the code in *bundle* needs. First its own: its lock if there is one, else its requirements;
    beside them what a script itself names, and the kernel of a notebook unless that is among them. For a notebook then
    the cell runner's. Raises ``BadInline``.
    """
    files = unpack(bundle)
    text = next((files[name].data for name in _REQUIREMENTS if name in files), b"")
    packages = text if _names_packages(text) else b""
    if kind == "script":
        script = files.get(SCRIPT, File(b""))
        return (EnvironmentRequest(python_version, packages, read_inline(script.data).dependencies),)
    named = {re.sub(rb"[-_.]+", b"-", name).lower().decode() for name in _NAMED.findall(text)}
    return (EnvironmentRequest(python_version, packages, () if "ipykernel" in named else (_KERNEL,)), CELL_RUNNER)


def interpreter(request: EnvironmentRequest, place: Place) -> str:
    """What uv gets: a version to find or download, or the path of the sandbox's own interpreter."""
    return place.own_python if request.python_version in ("", place.own_version) else request.python_version


def environment_key(request: EnvironmentRequest, place: Place) -> EnvironmentKey | None:
    """Equal for environments that are interchangeable; None if the sandbox's own interpreter will do."""
    python = interpreter(request, place)
    if place.bare and python == place.own_python and not request.file:
        return None
    parts = [_RECIPE.encode(), place.platform.encode(), python.encode(), request.requirements]
    parts += [extra.encode() for extra in request.extras]
    framed = b"".join(b"%d:%s" % (len(part), part) for part in parts)
    return EnvironmentKey(hashlib.sha256(framed).hexdigest()[:32])


def passed_on(environ: Mapping[str, str], place: Place) -> dict[str, str]:
    """The settings of the runner's own environment that preparers get: indexes, proxies, certificates."""
    names = _PASSED_ON | _PASSED_ON_HOST if place.on_host else _PASSED_ON
    return {name: value for name, value in environ.items() if name in names or name.startswith(_PASSED_ON_PREFIX)}


def _names_packages(requirements: bytes) -> bool:
    lines = (line.strip() for line in requirements.splitlines())
    return any(line and not line.startswith(b"#") for line in lines)
