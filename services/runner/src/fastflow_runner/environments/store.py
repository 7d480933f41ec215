"""The environment store as the runner sees it: requests, their keys, and where preparers run. Pure.

``prepare`` documents the store's layout and who may write what. ``environments`` starts preparers.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
from pathlib import Path
from typing import Final, NewType

import msgspec
from uv import find_uv_bin

from fastflow_contracts.bus.subjects import Kind
from fastflow_contracts.pipelines.folder.bundle import File, unpack
from fastflow_contracts.pipelines.folder.packages import packages_of
from fastflow_contracts.pipelines.folder.python_versions import is_version, meets
from fastflow_contracts.pipelines.folder.requirements import decoded
from fastflow_runner.guest import cells, prepare
from fastflow_runner.guest.prepare.layout import ENVS, LOCKS, PYTHON, TREES, lock_byte
from fastflow_runner.sandbox import USER, Mount
from fastflow_runner.sandbox.bubble.command import GUEST_PATH
from fastflow_runner.sandbox.docker.image import WORKER_PYTHON
from fastflow_runner.sandbox.job import Hold

EnvironmentKey = NewType("EnvironmentKey", str)
"""32 hex digits."""

STORE_PATH: Final = "/store"
"""Mount point of the store in containers, where the worker image makes it, and in bubblewrap sandboxes."""
UV_PATH: Final = "/opt/uv"
"""Mount point of uv in bubblewrap sandboxes."""

_RECIPE: Final = "1"  # to be raised when ``prepare`` makes environments that differ from those it made before
_KERNEL: Final = "ipykernel>=6"
"""What a notebook needs of its own environment."""
_NAMED: Final = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)", re.MULTILINE)
_PATCH: Final = re.compile(r"\d\.\d+\.\d")


class EnvironmentRequest(msgspec.Struct, frozen=True):
    """What an environment must contain."""

    python_version: str
    """Such as ``3.12`` or ``3.12.4``, or a range such as ``>=3.12``; empty: the default one."""
    requirements: bytes = b""
    """The requirements file; empty: none."""
    extras: tuple[str, ...] = ()
    """Requirements beside the file: those that the script names, or our own for packages it does not name."""
    requirements_name: str = "requirements.txt"
    """Path of the requirements file in the pipeline's folder."""
    beside: tuple[tuple[str, File], ...] = ()
    """The other files of the folder that making the environment reads, by path."""
    is_project: bool = False
    """Whether they hold a project to install first."""
    is_apart: bool = False
    """Whether *extras* come last, and change nothing that is there by then."""
    is_ours: bool = False
    """Whether only our own code runs in it. Then the sandbox's own interpreter is good enough."""

    @property
    def folder(self) -> dict[str, File]:
        """The files for the preparer."""
        files = dict(self.beside)
        return files | {self.requirements_name: File(self.requirements)} if self.requirements else files

    @property
    def is_empty(self) -> bool:
        """Whether it asks for no package."""
        return not (self.requirements or self.extras or self.is_project)


class ReadyEnvironment(msgspec.Struct, frozen=True):
    """An environment that is ready to use."""

    python: str | None
    """The interpreter's path inside the sandbox; None: the sandbox's own."""
    hold: Hold | None = None
    """The lock that keeps it in the store while a run uses it."""
    seconds: float = 0.0
    """How long it took."""
    python_version: str = ""
    """The interpreter's version as far as it is known, and whether it is the sandbox's own where uv has none."""


CELL_RUNNER: Final = EnvironmentRequest(
    "", (Path(cells.__file__).parent / "requirements.lock").read_bytes(), is_ours=True
)
"""The environment of the cell runner: ours, independent of the pipeline's."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where preparers run, and the paths inside their sandboxes and those of runs."""

    store: str
    """The store's path inside a sandbox, the same for preparers and runs."""
    writable: tuple[Mount, ...] = ()
    """How a preparer gets the store."""
    readable: tuple[Mount, ...] = ()
    """How a run gets it."""
    building: tuple[Mount, ...] = ()
    """What a build gets besides its own tree, if *trees* is set."""
    trees: Mount | None = None
    """Where trees are, if a mount keeps a build from the others; None: its user does."""
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
    manages: bool = False
    """Whether uv's own interpreters go before all others."""
    on_host: bool
    """Whether the store's path is one of this host."""
    builder: int | None = None
    """The user of all builds; None: each has its own."""
    platform: str
    """Whatever else decides whether an environment can be used."""

    def for_build(self, tree: str) -> tuple[Mount, ...]:
        """How a build gets the store: all of it, where its user may write only its own *tree*, or only that tree."""
        if self.trees is None:
            return self.writable
        source, target = (f"{path}/{tree}" for path in (self.trees.source, self.trees.target))
        return (*self.building, Mount(source, target, read_only=False))

    def python(self, key: EnvironmentKey) -> str:
        """The interpreter of an environment."""
        return f"{self.store}/envs/{key}/bin/python"

    def prepared(self, key: EnvironmentKey, python_version: str, seconds: float = 0.0) -> ReadyEnvironment:
        """The environment of *key*, which was ready when last checked."""
        python = self.python(key)
        return ReadyEnvironment(python, Hold(f"{self.store}/locks", lock_byte(key), python), seconds, python_version)


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
        manages=True,
        on_host=False,
        platform=f"docker {architecture} {base_image}",
    )


def process_place(directory: Path) -> Place:
    """Preparers are processes of this user; the store is *directory*.

    The interpreter that runs the runner has the runner's own packages, so no run may use it as it is.
    """
    own_python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    store = str(directory.absolute())
    return Place(
        store=store,
        readable=(Mount(source=store, target=store),),
        script=str(Path(prepare.__file__).parent),
        cell_runner=str(Path(cells.__file__).parent),
        uv=find_uv_bin(),
        own_version=f"{sys.version_info.major}.{sys.version_info.minor}",
        own_python=own_python,
        bare=False,
        on_host=True,
        builder=os.getuid(),  # there is no other
        platform=f"process {platform.machine()} {platform.system()}",
    )


def bubble_place(directory: Path, *, python: str, network: str) -> Place:
    """Preparers are bubblewrap sandboxes; the store is *directory*, at the same path in all of them.

    All of them are one user. So what a sandbox may not write, or read, is not mounted in it: a run gets only the
    environments, and a build only its own tree.

    No run may use *python* as it is: it is that of the runner, or of the system, with its packages.
    """
    store = str(directory.absolute())
    uv = Mount(os.path.realpath(find_uv_bin()), UV_PATH)
    return Place(
        store=STORE_PATH,
        writable=(Mount(store, STORE_PATH, read_only=False), uv),
        readable=tuple(Mount(f"{store}/{part}", f"{STORE_PATH}/{part}") for part in (ENVS, TREES, PYTHON, LOCKS)),
        building=(Mount(f"{store}/{PYTHON}", f"{STORE_PATH}/{PYTHON}"), uv),
        trees=Mount(f"{store}/{TREES}", f"{STORE_PATH}/{TREES}"),
        network=network,
        script=f"{GUEST_PATH}/prepare",
        cell_runner=f"{GUEST_PATH}/cells",
        uv=UV_PATH,
        own_version=f"{sys.version_info.major}.{sys.version_info.minor}",
        own_python=python,
        bare=False,
        on_host=False,
        builder=USER,
        platform=f"bubble {platform.machine()}",
    )


def requests_of(python_version: str, bundle: bytes, kind: Kind = "script") -> tuple[EnvironmentRequest, ...]:
    """The environments that the code in *bundle* needs. First its own: what its project and its requirements name (or
    their lock), beside them what a script itself names, and the kernel of a notebook unless that is among them. For a
    notebook then the cell runner's. Raises ``BadInline``.
    """
    files = unpack(bundle)
    packages = packages_of({path: file.data for path, file in files.items()}, is_script=kind == "script")
    name = packages.requirements_file
    text = files[name].data if name else b""
    extras = packages.inline
    if kind == "notebook" and not _names_kernel(text):
        extras = (_KERNEL,)
    own = EnvironmentRequest(
        python_version or packages.python or "",
        text,
        extras,
        requirements_name=name or "requirements.txt",
        beside=tuple((path, files[path]) for path in packages.paths if path != name),
        is_project=packages.is_project,
        is_apart=bool(extras) and (packages.requires_hashes or packages.is_project),
    )
    return (own,) if kind == "script" else (own, CELL_RUNNER)


def interpreter(request: EnvironmentRequest, place: Place) -> str:
    """What uv gets: a version or range to find or download, or the path of the sandbox's own interpreter."""
    asked, own = request.python_version, place.own_version
    if asked and not is_version(asked) and meets(own, asked):
        if _PATCH.search(asked):  # the release that is here may be an older one
            return f"=={own}.*,{asked}"
        asked = own
    if asked not in ("", own):
        return asked
    return own if place.manages and not request.is_ours else place.own_python


def fallback(request: EnvironmentRequest, place: Place) -> EnvironmentRequest | None:
    """The request with the sandbox's own interpreter, where uv's own of that version would go before it."""
    if place.manages and interpreter(request, place) == place.own_version:
        return msgspec.structs.replace(request, is_ours=True)
    return None


def environment_key(request: EnvironmentRequest, place: Place) -> EnvironmentKey | None:
    """Equal for environments that are interchangeable; None if the sandbox's own interpreter will do."""
    python = interpreter(request, place)
    if place.bare and python == place.own_python and request.is_empty:
        return None
    parts = [_RECIPE.encode(), place.platform.encode(), python.encode(), request.requirements]
    parts += [extra.encode() for extra in request.extras]
    for path, file in request.beside:
        parts += [b"\0%d %s" % (file.executable, path.encode()), file.data]
    if request.beside:
        parts.append(b"\0%d%d %s" % (request.is_project, request.is_apart, request.requirements_name.encode()))
    framed = b"".join(b"%d:%s" % (len(part), part) for part in parts)
    return EnvironmentKey(hashlib.sha256(framed).hexdigest()[:32])


def _names_kernel(requirements: bytes) -> bool:
    try:
        text = decoded(requirements)
    except UnicodeDecodeError:  # uv says so
        return False
    return "ipykernel" in {re.sub(r"[-_.]+", "-", name).lower() for name in _NAMED.findall(text)}
