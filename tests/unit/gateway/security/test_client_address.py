"""Which requests count as one client, with and without a proxy in front."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_gateway.security.client_address import CLIENT_CHARACTERS_MAX, BadProxies, ClientAddresses, one_client

PROXIES = "10.0.0.0/8, 2001:db8:ffff::1,192.0.2.1"


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("/run/socket", "/run/socket"),
    ],
)
def test_one_subscriber_is_one_client(address: str, client: str) -> None:
    """An IPv6 subscriber has more addresses than could be counted."""
    assert one_client(address) == client
    assert ClientAddresses().of(address) == client


@pytest.mark.parametrize(
    ("remote", "forwarded", "client"),
    [
        ("203.0.113.5", ["198.51.100.1"], "203.0.113.5"),
        ("10.1.2.3", [], "10.1.2.3"),
        ("10.1.2.3", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.1.2.3", ["198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["1.1.1.1, 198.51.100.1, 192.0.2.1"], "198.51.100.1"),
        ("10.1.2.3", ["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["10.9.9.9, 10.1.1.1"], "10.9.9.9"),
        ("10.1.2.3", ["198.51.100.1:4711"], "198.51.100.1"),
        ("2001:db8:ffff::1", ["[2001:db8:1:2:3::4]:4711"], "2001:db8:1:2::/64"),
        ("10.1.2.3", ["2001:db8:1:2:3::4"], "2001:db8:1:2::/64"),
        ("10.1.2.3", ["unknown"], "unknown"),
        (None, ["198.51.100.1"], "unknown"),
    ],
)
def test_a_trusted_proxy_names_the_client(remote: str | None, forwarded: list[str], client: str) -> None:
    """The header is read from its end, one hop for each proxy. What the client wrote itself, or what another host
    wrote, counts for nothing.
    """
    assert ClientAddresses(PROXIES).of(remote, forwarded) == client


@given(st.lists(st.text()))
def test_a_client_cannot_choose_its_address(claims: list[str]) -> None:
    """Only the hop that our proxy wrote counts."""
    assert ClientAddresses(PROXIES).of("10.1.2.3", [*claims, "198.51.100.1"]) == "198.51.100.1"
    assert ClientAddresses(PROXIES).of("203.0.113.5", claims) == "203.0.113.5"
    assert len(ClientAddresses(PROXIES).of("10.1.2.3", claims)) <= CLIENT_CHARACTERS_MAX


@pytest.mark.parametrize("text", ["proxy", "10.0.0.0/33", "10.0.0.1 10.0.0.2", "*"])
def test_a_setting_that_is_not_a_network_is_refused(text: str) -> None:
    """With an example."""
    with pytest.raises(BadProxies, match="such as"):
        ClientAddresses(text)
