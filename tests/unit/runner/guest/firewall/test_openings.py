"""What the operator opens to runs, and what stays closed."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_network

import pytest

from fastflow_runner.guest.firewall.openings import (
    BadDestination,
    Opening,
    is_closed,
    read_destination,
    read_opening,
)


@pytest.mark.parametrize(
    ("text", "opening"),
    [
        ("10.1.0.0/16", Opening(ip_network("10.1.0.0/16"), None)),
        ("10.1.2.3/16:5432", Opening(ip_network("10.1.0.0/16"), 5432)),
        ("192.168.0.7:8080", Opening(ip_network("192.168.0.7/32"), 8080)),
        ("fd00::/8", Opening(ip_network("fd00::/8"), None)),
        ("[fd00::1]:443", Opening(ip_network("fd00::1/128"), 443)),
        ("host:8000", Opening("host", 8000)),
        ("index.corp_net.local", Opening("index.corp_net.local", None)),
    ],
)
def test_an_opening_is_read(text: str, opening: Opening) -> None:
    assert read_opening(text) == opening


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":80",
        "host:0",
        "host:65536",
        "10.0.0.0/33",
        "1.2.3",
        "a b",
        "x;accept",
        'x" accept',
        "-x",
        "http://x",
        "[::1",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """Nothing of it may get into a rule."""
    with pytest.raises(BadDestination):
        read_opening(text)


@pytest.mark.parametrize("text", ["", "x", "x:", ":1", "x:0", "x:65536", "x:1:2", "x y:1", "::1:80", "x:٣"])
def test_a_pipeline_lists_host_and_port(text: str) -> None:
    assert read_destination("db.example.com:5432") == ("db.example.com", 5432)
    with pytest.raises(BadDestination):
        read_destination(text)


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.17.0.1", "192.168.1.1", "203.0.113.9"],
)
def test_private_link_local_and_own_addresses_are_closed_until_opened(address: str) -> None:
    """203.0.113.9 is the public address of the machine itself."""
    own = frozenset({"203.0.113.9", "172.17.0.1"})
    at = IPv4Address(address)
    assert is_closed(at, 80, own=own, opened=())
    assert is_closed(at, 80, own=own, opened=(Opening(ip_network(f"{address}/32"), 81),))
    if address not in own:
        assert not is_closed(at, 80, own=own, opened=(Opening(ip_network(f"{address}/32"), 80),))
        assert is_closed(at, 80, own=own, opened=(Opening("host", None),))
    else:
        assert not is_closed(at, 80, own=own, opened=(Opening("host", 80),))


def test_the_internet_is_open() -> None:
    assert not is_closed(IPv4Address("1.1.1.1"), 443, own=frozenset({"203.0.113.9"}), opened=())
