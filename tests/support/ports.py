"""Free ports for servers that have to know theirs before they start."""

from __future__ import annotations

import random
import socket

RANGE = range(18_000, 32_000)
"""Below the ports that the system gives to outgoing connections: none of those takes a chosen port meanwhile."""


def free_port(address: str = "127.0.0.1") -> int:
    """A port that is free at *address* now."""
    return free_ports(1, address)[0]


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """Ports that are free at *address* now."""
    found: list[int] = []
    for port in random.SystemRandom().sample(RANGE, len(RANGE)):
        if len(found) == count:
            break
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError:
                continue
        found.append(port)
    return found
