"""The address of the client behind a request, for limits by client. Pure.

Only our own proxies are believed: ``X-Forwarded-For`` is read from its end, one hop for each of them, and no further.
What a client writes into the header itself comes before those hops and is ignored.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from aiohttp import web

from fastflow_contracts.errors import FastFlowError

CLIENT_CHARACTERS_MAX: Final = 64
_NEIGHBOURS_BITS: Final = 64
"""Bits of the IPv6 network that one subscriber gets."""

Network: TypeAlias = IPv4Network | IPv6Network


class BadProxies(FastFlowError):
    """The text is not a list of addresses and networks."""


class ClientAddresses:
    """Finds the client address of a request.

    Args:
        proxies: Addresses and networks of our proxies, separated by commas.

    Raises:
        BadProxies: *proxies* is not such a list.
    """

    def __init__(self, proxies: str = "") -> None:
        try:
            self._proxies: tuple[Network, ...] = tuple(
                ip_network(each.strip(), strict=False) for each in proxies.split(",") if each.strip()
            )
        except ValueError as error:
            raise BadProxies(
                f"{error}; write addresses or networks such as 172.16.0.0/12, separated by commas."
            ) from None

    def of(self, remote: str | None, forwarded: Iterable[str] = ()) -> str:
        """The client address.

        Args:
            remote: The address at the other end of the connection.
            forwarded: The ``X-Forwarded-For`` headers, in order.
        """
        client = remote or "unknown"
        hops = [hop.strip() for line in forwarded for hop in line.split(",") if hop.strip()]
        while hops and self.is_proxy(client):
            client = _without_port(hops.pop())
        return one_client(client)

    def is_proxy(self, address: str) -> bool:
        """Whether *address* is one of our proxies."""
        try:
            found = ip_address(address)
        except ValueError:
            return False
        if isinstance(found, IPv6Address) and found.ipv4_mapped:
            found = found.ipv4_mapped
        return any(found in network for network in self._proxies)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on *host*."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def one_client(address: str) -> str:
    """What counts as one client: an IPv4 address, or the network of an IPv6 subscriber."""
    try:
        found = ip_address(address)
    except ValueError:
        return address[:CLIENT_CHARACTERS_MAX]
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(IPv6Network((int(found), _NEIGHBOURS_BITS), strict=False))
    return str(found)


def _without_port(hop: str) -> str:
    """Some proxies add a port, and it differs for each connection."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


CLIENT_ADDRESSES = web.AppKey("CLIENT_ADDRESSES", ClientAddresses)
