"""Carries out one command, a JSON object, and prints one JSON object: ``python firewall COMMAND``. I/O.

- ``{"close": {ID: "open" or "listed", …}, "open": […]}``: put the rules of these networks in place. Prints ``{}``.
- ``{"look_up": ["host:port", …], "open": […]}``: prints ``{"found": [[name, address, port], …]}``.
- ``{"admit": ID, "source": ADDRESS, "to": [[ADDRESS, PORT], …], "open": […]}``: prints ``{}``.

``open`` is what the operator opens. What cannot be done is printed as ``{"error": TEXT}``.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from typing import Any

from . import rules
from .lookup import FirewallFailed, find, looked_up, own_addresses
from .openings import BadDestination, Opening, address_of, is_closed

NFT_S = 20.0


def main() -> int:
    """Carry out the command of the first argument."""
    try:
        answer = _answer(json.loads(sys.argv[1]))
    except (FirewallFailed, BadDestination) as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)  # noqa: T201 - the answer
    return 0


def _answer(command: dict[str, Any]) -> dict[str, Any]:
    opened = tuple(looked_up(command["open"]))
    own = own_addresses()
    if "close" in command:
        _close(command["close"], opened, own)
        return {}
    if "look_up" in command:
        return {"found": list(find(command["look_up"], opened, own))}
    to = [(address, port) for address, port in command["to"]]
    for text, port in to:
        address = address_of(text)
        if address is None or is_closed(address, port, own=own, opened=opened):
            raise FirewallFailed(f"{text}:{port} is not open to runs.")
    source = str(address_of(command["source"]))
    _nft(rules.admit(command["admit"], source, _admitted(command["admit"], source), to))
    return {}


def _close(networks: dict[str, str], opened: tuple[Opening, ...], own: frozenset[str]) -> None:
    present = {name for _, name in socket.if_nameindex()}
    if missing := [rules.bridge_of(each) for each in networks if rules.bridge_of(each) not in present]:
        raise FirewallFailed(f"the daemon's own network has no {', '.join(missing)}")
    text = "".join(
        rules.listed_network(each) if kind == "listed" else rules.open_network(each, opened, own)
        for each, kind in networks.items()
    )
    for name in re.findall(rf"table (inet {rules.PREFIX}[0-9a-f]{{12}})\b", _nft_output("list", "tables")):
        if f"br-{name[-12:]}" not in present:  # the network was removed
            text += f"delete table {name}\n"
    _nft(text)


def _admitted(network: str, source: str) -> list[tuple[str, int]]:
    found = json.loads(_nft_output("-j", "list", "set", *rules.table_of(network).split(), rules.ADMITTED))
    elements = next(each["set"].get("elem", []) for each in found["nftables"] if "set" in each)
    parts = [each["concat"] for each in elements]
    return [(str(address), int(port)) for origin, address, port in parts if origin == source]


def _nft(text: str) -> None:
    _nft_output("-f", "-", given=text)


def _nft_output(*words: str, given: str = "") -> str:
    try:
        done = subprocess.run(("nft", *words), input=given, capture_output=True, text=True, timeout=NFT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FirewallFailed(f"nft cannot be used ({error})") from error
    if done.returncode:
        raise FirewallFailed(f"the kernel does not take the rules ({' '.join(done.stderr.split())[:300]})")
    return done.stdout
