"""Who counts as one caller, with and without a proxy in front."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_gateway.security.client_address import CALLER_CHARACTERS_MAX, BadProxies, ClientAddresses, one_caller

PROXIES = "10.0.0.0/8, 2001:db8:ffff::1,192.0.2.1"


@pytest.mark.parametrize(
    ("address", "caller"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("/run/socket", "/run/socket"),
    ],
)
def test_one_subscriber_is_one_caller(address: str, caller: str) -> None:
    """IPv6 gives everybody more addresses than could ever be counted."""
    assert one_caller(address) == caller
    assert ClientAddresses().of(address) == caller


@pytest.mark.parametrize(
    ("remote", "forwarded", "caller"),
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
def test_a_proxy_of_ours_says_for_whom_it_asks(remote: str | None, forwarded: list[str], caller: str) -> None:
    """Read from the end, a hop for each proxy; what the caller wrote itself, or one who is no proxy, is nothing."""
    assert ClientAddresses(PROXIES).of(remote, forwarded) == caller


@given(st.lists(st.text()))
def test_nobody_chooses_who_they_are(claims: list[str]) -> None:
    """Whatever stands before the hop that our proxy wrote."""
    assert ClientAddresses(PROXIES).of("10.1.2.3", [*claims, "198.51.100.1"]) == "198.51.100.1"
    assert ClientAddresses(PROXIES).of("203.0.113.5", claims) == "203.0.113.5"
    assert len(ClientAddresses(PROXIES).of("10.1.2.3", claims)) <= CALLER_CHARACTERS_MAX


@pytest.mark.parametrize("text", ["proxy", "10.0.0.0/33", "10.0.0.1 10.0.0.2", "*"])
def test_what_names_no_network_is_refused(text: str) -> None:
    """With an example."""
    with pytest.raises(BadProxies, match="such as"):
        ClientAddresses(text)
