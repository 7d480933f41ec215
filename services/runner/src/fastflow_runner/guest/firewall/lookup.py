"""Looks up names, and the addresses of this machine. I/O."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, ip_network
from pathlib import Path

from .openings import HOST, Opening, address_of, is_closed, read_destination, read_opening


class FirewallFailed(Exception):
    """It could not be done. The message is for the operator, or for the author of a pipeline."""


def find(wanted: Iterable[str], opened: tuple[Opening, ...], own: frozenset[str]) -> Iterator[tuple[str, str, int]]:
    """Yield name, address and port of what a pipeline lists.

    Args:
        wanted: each ``host:port``.
        opened: with their names looked up.
        own: the addresses of the machine of the runs.

    Raises:
        BadDestination: one is no ``host:port``.
        FirewallFailed: one has no address, or is closed to runs.
    """
    for text in wanted:
        name, port = read_destination(text)
        addresses = _addresses(name)
        if not addresses:
            raise FirewallFailed(f"{name} has no IPv4 address; a list of destinations needs one.")
        for address in addresses:
            if is_closed(address, port, own=own, opened=opened):
                raise FirewallFailed(
                    f"{text} is {address}, which is closed to runs; the operator opens it with FASTFLOW_NETWORK_OPEN."
                )
            yield name, str(address), port


def looked_up(texts: Iterable[str]) -> Iterator[Opening]:
    """Read what the operator opens; what has no address is not open."""
    for text in texts:
        opening = read_opening(text)
        if isinstance(opening.to, str) and opening.to != HOST:
            for address in _addresses(opening.to):
                yield Opening(ip_network(str(address)), opening.port)
        else:
            yield opening


def _addresses(name: str) -> list[IPv4Address]:
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({address for *_, at in found if (address := address_of(str(at[0])))})


def own_addresses() -> frozenset[str]:
    """Return the IPv4 addresses of this machine."""
    text = Path("/proc/net/fib_trie").read_text()
    return frozenset(re.findall(r"\|-- ([0-9.]+)\n +/32 host LOCAL", text))
