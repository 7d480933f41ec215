"""Which network a run gets, and what the operator opens for all runs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from fastflow_runner.errors import RunnerError
from fastflow_runner.guest.firewall.openings import BadDestination, read_opening
from fastflow_runner.sandbox import SandboxError
from fastflow_runner.sandbox.docker.config import listed_network

NetworkMax: TypeAlias = Literal["internet", "list", "none"]
_INDEXES: Final = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
_MIRRORS: Final = ("UV_PYTHON_INSTALL_MIRROR", "UV_PYTHON_DOWNLOADS_JSON_URL")
_PROXIES: Final = tuple(name for each in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY") for name in (each, each.lower()))
_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


class BadOpening(RunnerError):
    """``FASTFLOW_NETWORK_OPEN`` cannot be read."""


class RunNetwork(NamedTuple):
    """The network of a run's sandbox, see ``SandboxSpec``."""

    name: str
    reach: tuple[str, ...] | None


def run_network(asked: str | tuple[str, ...] | None, most: NetworkMax, *, usual: str) -> RunNetwork:
    """Return the network of a run.

    Args:
        asked: ``network`` of its pipeline.
        most: what the operator allows.
        usual: the network of runs; ``none``: the operator gives none.

    Raises:
        SandboxError: the pipeline asks for more than the operator allows.
    """
    if isinstance(asked, str | None):
        if asked == "internet" and most != "internet":
            raise SandboxError(
                f'its pipeline asks for the network "internet"; FASTFLOW_NETWORK_MAX={most} allows less.'
            )
        if asked == "none":
            return RunNetwork("none", ())
        return RunNetwork(usual if most == "internet" else "none", None)
    if most == "none" or usual == "none":
        raise SandboxError("its pipeline lists what it reaches, and this runner gives runs no network.")
    return RunNetwork(listed_network(usual), asked)


def openings(text: str) -> tuple[str, ...]:
    """Read a list, separated by commas. Raises ``BadOpening``."""
    found = tuple(each.strip() for each in text.split(",") if each.strip())
    try:
        for each in found:
            read_opening(each)
    except BadDestination as error:
        raise BadOpening(f"FASTFLOW_NETWORK_OPEN: {error}") from None
    return found


def package_hosts(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the hosts that preparers need by the runner's own environment, each ``host:port``: indexes and proxies."""
    urls = (url for name in (*_INDEXES, *_MIRRORS, *_PROXIES) for url in _urls(environ.get(name, "")))
    return tuple(sorted({opening for url in urls if (opening := _opening(url))}))


def _urls(text: str) -> Iterator[str]:
    for each in text.replace(",", " ").split():
        yield each.partition("=")[2] if "=" in each.partition("://")[0] else each  # a named index: NAME=URL


def _opening(url: str) -> str:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port or _PORTS.get(parts.scheme)
        host = parts.hostname or ""
        text = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        read_opening(text)
    except (ValueError, BadDestination):
        return ""
    return text if port else ""
