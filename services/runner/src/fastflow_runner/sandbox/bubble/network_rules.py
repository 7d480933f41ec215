"""The rules of one sandbox's network, as text for ``nft -f``. Pure.

They are in the sandbox's own network namespace, on the way out, and belong to a user namespace in which the sandbox has
no rights. What leaves them is carried by a helper on this machine, which reaches everything that the machine reaches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network

from fastflow_runner.guest.firewall.openings import CLOSED_4, HOST, Opening

SUBNET = "198.18.0.0/24"
"""Of each sandbox, in a range that is for tests of networks only. The helper is its gateway."""
ADDRESS, GATEWAY, NAME_SERVER = "198.18.0.100", "198.18.0.2", "198.18.0.3"
_REJECT = "reject with icmpx type admin-prohibited"
_PORTS = "meta l4proto { tcp, udp }"


def open_rules(opened: Iterable[Opening], own: Iterable[str]) -> str:
    """Return the rules with which a run reaches the internet and what is *opened*.

    Args:
        opened: with their names looked up.
        own: the IPv4 addresses of this machine.
    """
    own = sorted(own)
    closed = ", ".join((*CLOSED_4, *(address for address in own if not address.startswith("127."))))
    return _table(
        f"ip daddr {NAME_SERVER} {_PORTS} th dport 53 accept",
        *_openings(opened, own),
        f"ip daddr {{ {closed} }} {_REJECT}",
        f"meta nfproto ipv6 {_REJECT}",
        "accept",
    )


def listed_rules(found: Iterable[tuple[str, int]]) -> str:
    """Return the rules with which a run reaches what was *found*, each an address and a port, and nothing else."""
    elements = ", ".join(f"{address} . {port}" for address, port in sorted(set(found)))
    return _table(*([f"{_PORTS} ip daddr . th dport {{ {elements} }} accept"] if elements else []), _REJECT)


def _table(*rules: str) -> str:
    lines = "".join(f"    {rule}\n" for rule in ('oifname "lo" accept', *rules))
    chain = f"  chain out {{\n    type filter hook output priority 0; policy drop;\n{lines}  }}\n"
    return f"table inet fastflow {{\n{chain}}}\n"


def _openings(opened: Iterable[Opening], own: list[str]) -> Iterator[str]:
    for to, port in opened:
        at_port = "" if port is None else f"{_PORTS} th dport {port} "
        if isinstance(to, IPv4Network):
            yield f"ip daddr {to} {at_port}accept"
        elif to == HOST and own:
            yield f"ip daddr {{ {', '.join(own)} }} {at_port}accept"
