"""Finds the Docker daemon for the sandboxes, or explains in one sentence why there is none. I/O.

It looks for the address where the ``docker`` command does: ``DOCKER_HOST``, the current context, the usual sockets.
``docker`` starts containers.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import aiodocker
import aiohttp
from aiodocker.exceptions import DockerError

from fastflow_contracts.log import get_logger
from fastflow_runner.errors import RunnerError

log = get_logger(__name__)

ANSWER_S: Final = 5.0
SYSTEM_SOCKETS: Final = (Path("/var/run/docker.sock"), Path("/run/docker.sock"))
API_OLDEST: Final = (1, 41)
"""API version of Docker 20.10, the oldest that we test."""
_NO_CONNECTION: Final = 900
"""aiodocker's status for a failed connection."""
_TEXT_CHARACTERS_MAX: Final = 200


class NoDocker(RunnerError):
    """There is no usable daemon. The message states the problem, *hint* the solution: one clause each."""

    def __init__(self, found: str, hint: str) -> None:
        super().__init__(found)
        self.hint = hint


class Daemon(NamedTuple):
    """A daemon that has answered."""

    url: str
    """``unix:///path``, ``tcp://host:port``."""
    tls: ssl.SSLContext | None
    info: Mapping[str, Any]
    """Its answer to ``GET /info``."""

    def client(self) -> aiodocker.Docker:
        """Return a new client. The caller closes it. Needs a running event loop."""
        return aiodocker.Docker(url=self.url, ssl_context=self.tls)

    @property
    def name(self) -> str:
        """Version and address, for display."""
        return f"Docker {self.info.get('ServerVersion', '')} at {self.url}"


async def find_daemon(environ: Mapping[str, str]) -> Daemon:
    """Find the daemon that the ``docker`` command would use.

    Raises:
        NoDocker: there is no daemon, or it is not usable. No other error, even if another program answers there.
    """
    url, certificates = _address(environ)
    tls = _tls(certificates) if certificates is not None and not url.startswith("unix://") else None
    if not _is_address(url):
        raise NoDocker(
            f"the Docker address {_plain(url)} is not valid", "set DOCKER_HOST to unix:// or tcp://host:port"
        )
    if url.startswith("unix://"):
        _look_at_socket(url.removeprefix("unix://"))
    try:
        async with asyncio.timeout(ANSWER_S), aiodocker.Docker(url=url, ssl_context=tls) as client:
            _check_version(await client._query_json("version", versioned_api=False), url)
            info = await client.system.info()
        str(info["ID"]), int(info["NCPU"]), info["OSType"].lower()
    except NoDocker:
        raise
    except TimeoutError:
        found = f"the Docker daemon at {_plain(url)} did not answer within {ANSWER_S:.0f} s"
        raise NoDocker(found, "restart it, or correct DOCKER_HOST") from None
    except Exception as error:
        # The user sets the address, so anything may answer there, and the client library may raise any error.
        log.debug("docker not found", exc_info=True)
        raise _no_answer(url, error) from error
    if info["OSType"].lower() != "linux":
        found = f"the Docker daemon at {_plain(url)} runs {info['OSType']} containers"
        raise NoDocker(found, "switch it to Linux containers")
    return Daemon(url, tls, info)


def _address(environ: Mapping[str, str]) -> tuple[str, Path | None]:
    """Return the daemon's address and the folder with its certificates, if any."""
    home = _home()
    if host := environ.get("DOCKER_HOST"):
        verify = bool(environ.get("DOCKER_TLS_VERIFY"))
        return host, Path(environ.get("DOCKER_CERT_PATH") or home / ".docker") if verify else None
    if (context := environ.get("DOCKER_CONTEXT") or _current_context(home)) not in ("", "default"):
        return _context(home / ".docker" / "contexts", context)
    sockets = [*SYSTEM_SOCKETS, home / ".docker/run/docker.sock"]
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        sockets.append(Path(runtime) / "docker.sock")
    for path in sockets:
        with suppress(OSError):
            if path.exists():
                return f"unix://{path}", None
    raise NoDocker("there is no Docker on this machine (no DOCKER_HOST, no socket)", "install Docker and start it")


def _home() -> Path:
    """Return the user's home folder, or a path that does not exist if the system has none."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")


def _current_context(home: Path) -> str:
    with suppress(OSError, ValueError, AttributeError):
        return str(json.loads((home / ".docker" / "config.json").read_bytes()).get("currentContext") or "")
    return ""


def _context(contexts: Path, name: str) -> tuple[str, Path | None]:
    """Return address and certificates of a context of the ``docker`` command."""
    folder = hashlib.sha256(os.fsencode(name)).hexdigest()
    try:
        meta = json.loads((contexts / "meta" / folder / "meta.json").read_bytes())
        host = str(meta["Endpoints"]["docker"]["Host"])
    except (OSError, ValueError, KeyError, TypeError):
        hint = "choose one with `docker context use`, or set DOCKER_HOST"
        raise NoDocker(f"the Docker context {name!r} cannot be read", hint) from None
    certificates = contexts / "tls" / folder / "docker"
    return host, certificates if certificates.is_dir() else None


def _tls(certificates: Path) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # like the docker command; Python 3.13 sets this flag
        context.load_cert_chain(str(certificates / "cert.pem"), str(certificates / "key.pem"))
    except (OSError, ssl.SSLError) as error:
        found = f"the certificates for Docker in {certificates} cannot be loaded ({error})"
        raise NoDocker(found, "correct DOCKER_CERT_PATH") from None
    return context


def _look_at_socket(path: str) -> None:
    if not os.path.exists(path):
        raise NoDocker(f"there is no Docker socket {path}", "start Docker, or correct DOCKER_HOST")
    if not os.access(path, os.R_OK | os.W_OK):
        hint = "add the user to its group (as root: usermod -aG docker USER) and log in again"
        raise NoDocker(f"this user may not use the Docker socket {path}", hint)


def _check_version(version: Any, url: str) -> None:
    if _is_podman(version):
        found = f"the server at {_plain(url)} is Podman, which does not keep all that a sandbox needs"
        raise NoDocker(found, "install Docker, or set DOCKER_HOST to a Docker daemon")
    try:
        api = str(version["ApiVersion"])
        numbers = tuple(map(int, api.split(".")))
    except (KeyError, TypeError, ValueError):
        raise _not_docker(url) from None
    if numbers < API_OLDEST:
        oldest = ".".join(map(str, API_OLDEST))
        found = f"Docker {_short(version.get('Version', ''))} at {_plain(url)} is too old (API {api})"
        raise NoDocker(found, f"upgrade it to 20.10 or newer (API {oldest})")


def _is_podman(version: Any) -> bool:
    try:
        return any("podman" in str(each["Name"]).lower() for each in version["Components"])
    except (KeyError, TypeError):
        return False


def _no_answer(url: str, error: Exception) -> NoDocker:
    """Describe why the daemon did not answer. aiodocker wraps the cause in its own errors."""
    if isinstance(error, DockerError) and error.status >= HTTPStatus.BAD_REQUEST and error.status != _NO_CONNECTION:
        text = _short(error.message)
        if text and not text.startswith("<"):
            found = f"the Docker daemon at {_plain(url)} refuses ({error.status}: {text})"
            return NoDocker(found, "check that it runs and accepts you, or correct DOCKER_HOST")
    reason: BaseException | None = error
    while reason is not None:
        if isinstance(reason, aiohttp.ClientConnectorError | OSError):
            known = reason.errno is not None and reason.errno in errno.errorcode
            text = os.strerror(reason.errno or 0) if known else _short(reason.strerror or reason)
            return NoDocker(f"no Docker daemon answers at {_plain(url)} ({text})", "start it, or correct DOCKER_HOST")
        reason = reason.__cause__ or reason.__context__
    return _not_docker(url)


def _not_docker(url: str) -> NoDocker:
    return NoDocker(f"the server at {_plain(url)} is not Docker", "correct DOCKER_HOST")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        if parts.scheme == "unix":
            return bool(parts.path)
        return parts.scheme in ("tcp", "http", "https") and bool(parts.hostname) and bool(parts.port)
    except ValueError:
        return False


def _plain(url: str) -> str:
    """Return *url* without user and password."""
    return re.sub(r"//[^/@]*@", "//", url)


def _short(text: object) -> str:
    return " ".join(str(text).split())[:_TEXT_CHARACTERS_MAX]
