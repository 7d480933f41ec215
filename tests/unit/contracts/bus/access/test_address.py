"""The address of the bus: what it says about who connects, and what of it is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.bus.access.address import login_of, redacted, with_login


@pytest.mark.parametrize(
    ("url", "user", "password"),
    [
        ("nats://op%40corp:p%23w%2Fd%251@host", "op@corp", "p#w/d%1"),
        ("nats://user:password@host:4222", "user", "password"),
        ("nats://user:100%@host", "user", "100%"),
        ("nats://m%C3%BCller:%C3%A4@host,nats://other", "müller", "ä"),
        ("nats://a%2Btoken@host", "a+token", None),
        ("nats://user:@host", "user", ""),
        ("nats://host", None, None),
    ],
)
def test_a_login_is_decoded(url: str, user: str | None, password: str | None) -> None:
    """As every other client of NATS does it."""
    assert login_of(url) == (user, password)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("nats://host:4222", "nats://u:p@host:4222"),
        ("nats://other:one@host", "nats://u:p@host"),
        ("nats://one, tls://other:x@two:1", "nats://u:p@one, tls://u:p@two:1"),
        ("nats://[::1]:4222", "nats://u:p@[::1]:4222"),
        ("host:4222", "u:p@host:4222"),
    ],
)
def test_a_login_from_settings_counts_for_every_server(url: str, wanted: str) -> None:
    """In place of the one in the address."""
    assert with_login(url, "u", "p") == wanted
    assert with_login(url, "", "") == url


def test_one_part_of_a_login_may_be_in_the_address() -> None:
    """A password as a file beside an address with the user is common."""
    assert with_login("nats://op%40corp@host", "", "p%") == "nats://op%40corp:p%25@host"
    assert with_login("nats://old:p%25@host", "new", "") == "nats://new:p%25@host"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text(st.characters(exclude_categories=["Cs"])))
def test_any_user_and_password_can_be_in_an_address(user: str, password: str) -> None:
    """It is read as it was, and none of it is shown."""
    url = with_login("nats://one:1,nats://two:2", user, password)
    assert login_of(url) == (user, password)
    assert redacted(url) == "nats://one:1,nats://two:2"
