"""What the operator opens, and what a pipeline lists: text to destinations. Pure.

An opening is ``ADDRESS``, ``NETWORK/BITS`` or ``NAME``, each optionally with ``:PORT``; IPv6 with a port in brackets.
The name ``host`` is the machine of the runs.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

HOST = "host"
PORT_MAX = 65535
_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
CLOSED_4 = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
    *("192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
)
"""Never the internet: this machine, private networks, the link (with the metadata services of clouds), multicast."""
CLOSED_6 = (
    "::/127",
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
)
"""The same, and the addresses that carry an IPv4 address."""


class BadDestination(Exception):
    """The text names no destination. The message says what is accepted."""


class Opening(NamedTuple):
    """One destination that the operator opens."""

    to: IPv4Network | IPv6Network | str
    """A network, or a name to look up."""
    port: int | None
    """None: all ports."""


def read_opening(text: str) -> Opening:
    """Read one opening. Raises ``BadDestination``."""
    found = re.fullmatch(r"\[([^\]]*)\](?::(\d{1,5}))?|([^:]*)(?::(\d{1,5}))?", text)
    address, port = (found[1] or found[3], found[2] or found[4]) if found else (text, None)
    number = None if port is None else int(port)
    if address and (number is None or 1 <= number <= PORT_MAX):
        try:
            return Opening(ip_network(address, strict=False), number)
        except ValueError:
            if _NAME.fullmatch(address) and not re.fullmatch(r"[0-9.]+", address):
                return Opening(address, number)
    raise BadDestination(
        f"{text!r} is no destination; write an address, a network such as 10.0.0.0/8, a name, or {HOST} for the "
        "machine of the runs, each with or without :PORT."
    )


def read_destination(text: str) -> tuple[str, int]:
    """Read ``host:port`` of a pipeline. Raises ``BadDestination``."""
    name, _, port = text.rpartition(":")
    is_name = _NAME.fullmatch(name) is not None
    if not is_name or not re.fullmatch(r"\d{1,5}", port, re.ASCII) or not 1 <= int(port) <= PORT_MAX:
        raise BadDestination(f"{text!r} is no host:port.")
    return name, int(port)


def is_closed(address: IPv4Address, port: int, *, own: frozenset[str], opened: tuple[Opening, ...]) -> bool:
    """Whether no run may reach *address* at *port*.

    Args:
        own: the addresses of the machine of the runs.
        opened: with their names looked up.
    """
    if not any(address in ip_network(each) for each in CLOSED_4) and str(address) not in own:
        return False
    for each in opened:
        if each.port not in (None, port):
            continue
        if str(address) in own if each.to == HOST else not isinstance(each.to, str) and address in each.to:
            return False
    return True


def address_of(text: str) -> IPv4Address | None:
    """Return *text* as an IPv4 address, or None."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return found if isinstance(found, IPv4Address) else None
