"""The rules of one network of runs, as text for ``nft -f``. Pure.

Each network has a table of its own, with chains before all others (priority -10). A packet that is rejected here
reaches no other chain, and one that passes is still judged by Docker's rules and the host's. So ours need not know the
rules of others, and a reload of those does not touch them.

Docker's NAT has changed the destination of a packet to a published port before these chains see it. Openings therefore
compare what the run asked for (``ct original``), and closed networks compare where the packet would go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network

from .openings import CLOSED_4, CLOSED_6, HOST, Opening

ADMITTED = "admitted"
"""The set of what each run with a list may reach: source, destination, port."""
PREFIX = "fastflow_"
_ID = re.compile(r"[0-9a-f]{12,64}")
_REJECT = "reject with icmpx type admin-prohibited"
NEIGHBOURS = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept"
"""How a container with an IPv6 address finds its gateway."""
_PORTS = "meta l4proto { tcp, udp }"


def bridge_of(network_id: str) -> str:
    """Return the interface that Docker makes for a network."""
    if not _ID.fullmatch(network_id):
        raise ValueError(f"{network_id!r} is no id of a network")
    return f"br-{network_id[:12]}"


def table_of(network_id: str) -> str:
    """Return the name of the network's table."""
    return f"inet {PREFIX}{bridge_of(network_id)[3:]}"


def open_network(network_id: str, opened: Iterable[Opening], own: Iterable[str]) -> str:
    """Return the rules of a network on which runs reach the internet and what is *opened*.

    Args:
        opened: with their names looked up.
        own: the IPv4 addresses of the machine.
    """
    dns = f"{_PORTS} th dport 53 accept"  # Docker's resolver asks from inside a container, often a private address
    openings = tuple(opened)
    return _table(
        network_id,
        forward=(
            dns,
            *_openings(openings, own=tuple(own)),
            f"ip daddr {{ {', '.join(CLOSED_4)} }} {_REJECT}",
            f"ip6 daddr {{ {', '.join(CLOSED_6)} }} {_REJECT}",
        ),
        to_host=(NEIGHBOURS, dns, *_openings(openings, own=None), _REJECT),
    )


def listed_network(network_id: str) -> str:
    """Return the rules of a network on which each run reaches only what was admitted for its address."""
    admitted = f"{_PORTS} ip saddr . ct original ip daddr . ct original proto-dst @{ADMITTED} accept"
    return _table(network_id, forward=(admitted, _REJECT), to_host=(NEIGHBOURS, admitted, _REJECT))


def admit(network_id: str, source: str, former: Iterable[tuple[str, int]], to: Iterable[tuple[str, int]]) -> str:
    """Return the change that lets *source* reach *to*, and nothing of *former*, what its address reached before."""
    steps = []
    for verb, destinations in (("delete", sorted(set(former))), ("add", sorted(set(to)))):
        if destinations:
            elements = ", ".join(f"{source} . {address} . {port}" for address, port in destinations)
            steps.append(f"{verb} element {table_of(network_id)} {ADMITTED} {{ {elements} }}\n")
    return "".join(steps)


def _table(network_id: str, *, forward: Iterable[str], to_host: Iterable[str]) -> str:
    """The network's table, changed in one step; what was admitted stays."""
    table = table_of(network_id)
    lines = [
        f"add table {table}",
        f"add set {table} {ADMITTED} {{ type ipv4_addr . ipv4_addr . inet_service; }}",
    ]
    for chain, hook, rules in (("forward", "forward", forward), ("to_host", "input", to_host)):
        lines.append(f"add chain {table} {chain} {{ type filter hook {hook} priority -10; policy accept; }}")
        lines.append(f"flush chain {table} {chain}")
        others = (f'iifname != "{bridge_of(network_id)}" accept', "ct direction reply accept")
        lines.extend(f"add rule {table} {chain} {rule}" for rule in (*others, *rules))
    return "\n".join(lines) + "\n"


def _openings(opened: Iterable[Opening], *, own: tuple[str, ...] | None) -> Iterator[str]:
    """The rules that accept *opened*; *own*: the machine's addresses, None: the rules are for the machine itself."""
    for to, port in opened:
        at_port = "" if port is None else f"{_PORTS} ct original proto-dst {port} "
        match to:
            case IPv4Network():
                yield f"{at_port}ct original ip daddr {to} accept"
            case IPv6Network():
                yield f"{at_port}ct original ip6 daddr {to} accept"
            case str() if to == HOST and own is None:
                yield f"{at_port}accept"
            case str() if to == HOST and own:
                yield f"{at_port}ct original ip daddr {{ {', '.join(sorted(own))} }} accept"
