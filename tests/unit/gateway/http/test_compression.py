"""What an ``Accept-Encoding`` header accepts."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_gateway.http.compression import Codings, accepted, gzipped

PLAIN, GZIP, EITHER, NEITHER = (
    Codings(gzip=False, plain=True),
    Codings(gzip=True, plain=False),
    Codings(gzip=True, plain=True),
    Codings(gzip=False, plain=False),
)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ((), PLAIN),
        (("",), PLAIN),
        (("gzip",), EITHER),
        (("GZip",), EITHER),
        (("x-gzip",), EITHER),
        (("gzip, deflate, br, zstd",), EITHER),
        (("br", "gzip"), EITHER),
        (("deflate, br",), PLAIN),
        (("*",), EITHER),
        (("gzip;q=0",), PLAIN),
        (("gzip;q=0.000, *",), PLAIN),
        (("*;q=0.5, gzip;q=0",), PLAIN),
        (("gzip;q=0.001",), EITHER),
        (("gzip ; q=0.5",), EITHER),
        (("gzip;Q=1.000",), EITHER),
        (("identity;q=0, gzip",), GZIP),
        (("identity;q=0",), NEITHER),
        (("*;q=0",), NEITHER),
        (("*;q=0, identity",), PLAIN),
        (("gzip, *;q=0",), GZIP),
        (("identity, gzip;q=0.5",), PLAIN),
        (("identity;q=0.5, gzip;q=0.5",), EITHER),
        (("*;q=0.5, gzip;q=0.1",), PLAIN),
        (("gzip, gzip;q=0",), PLAIN),
        (("gzip;q=2",), PLAIN),
        (("gzip;q=-1",), PLAIN),
        (("gzip;q=0.0001",), PLAIN),
        (("gzip;q=",), PLAIN),
        (("gzip;q=NaN",), PLAIN),
        (("gzip;q=1;q=0",), PLAIN),
        (("gzip;level=9",), PLAIN),
        (("gzip deflate",), PLAIN),
        (('"gzip"',), PLAIN),
        (("gzipped",), PLAIN),
        (("notgzip, xgzip",), PLAIN),
        ((",, ,gzip,,",), EITHER),
        (("gzip\u00a0",), PLAIN),
        (("gz\udcffip, gzip;q=1",), EITHER),
        (("gzip;q=0\u0661",), PLAIN),
    ],
)
def test_weights_are_honoured_and_what_is_not_valid_is_ignored(fields: tuple[str, ...], wanted: Codings) -> None:
    """A coding in doubt is not used."""
    assert accepted(fields) == wanted


@given(st.lists(st.text()))
def test_any_text_may_come_as_a_header(fields: list[str]) -> None:
    """No text is an error."""
    accepted(fields)


@given(st.binary())
def test_a_body_comes_back_as_it_was(body: bytes) -> None:
    """And is packed into the same bytes each time: no time of day is in them."""
    assert gzip.decompress(gzipped(body)) == body
    assert gzipped(body) == gzipped(body)
