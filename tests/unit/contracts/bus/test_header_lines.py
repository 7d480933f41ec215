"""The headers of messages are read as the client library reads them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nats.aio.client import Client

from fastflow_contracts.bus.nats_client import NatsClient

LINE = st.one_of(
    st.binary(max_size=20),
    st.builds(
        lambda name, colon, value: name + colon + value,
        st.sampled_from([b"Nats-Sequence", b" Name ", b"two words", b"na\tme", b"n\xffme", "näme".encode(), b"", b"A"]),
        st.sampled_from([b": ", b":", b":\t", b""]),
        st.one_of(st.binary(max_size=12), st.sampled_from([b" 17 ", b"a: b", b"\xff\xfe", "ü".encode(), b""])),
    ),
)


@given(st.lists(LINE, max_size=6))
@example([b"Nats-Sequence: 17", b"Nats-Sequence: 18"])
@example([b"\xc3", b"\xa9: 1"])
def test_any_bytes_give_the_same_headers(lines: list[bytes]) -> None:
    """The same names, values, order, and what is left out."""
    raw = b"\r\n".join([*lines, b"", b""])
    assert NatsClient._parse_header_lines(raw) == Client._parse_header_lines(raw)


@pytest.mark.parametrize("line", [b"no colon", b"two words: 1", b"n\xc3\xa4me: 1"])
def test_a_line_that_is_no_header_is_left_out(line: bytes) -> None:
    """It does not spoil the others."""
    assert NatsClient._parse_header_lines(line + b"\r\nA: 1\r\n")["A"] == "1"
