"""A request to the Docker proxy, what belongs to its installation, and the answer to the request. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fastflow_runner.sandbox.docker.config import listed_network


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
