"""What a script may write as its route."""

from __future__ import annotations

import pytest

from fastflow_contracts.pipelines.links import Link
from fastflow_contracts.pipelines.route import BadRoute, read_route


@pytest.mark.parametrize(
    ("data", "label"),
    [
        (b"approved", "approved"),
        (b"approved\n", "approved"),
        (b"  needs review \r\n\r\n", "needs review"),
        (b"\xef\xbb\xbfapproved\r\n", "approved"),
        ("größer als 5 / 🙂".encode(), "größer als 5 / 🙂"),
        (b"x" * 128, "x" * 128),
        (b"0", "0"),
        (b"", None),
        (b" \n\t\n", None),
    ],
)
def test_a_label_is_the_text_without_the_space_around_it(data: bytes, label: str | None) -> None:
    """As editors, shells and Windows write it; nothing but space is no route."""
    assert read_route(data) == label


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"one\ntwo\n", "several lines"),
        (b"one\rtwo", "several lines"),
        ("one\u2028two".encode(), "several lines"),
        (b"\xff\xfea\x00", "not UTF-8"),
        (b"a\x00b", "printable"),
        (b"a\x1b[31mb", "printable"),
        (b"x" * 129, "128"),
        (b" " * 1025, "1024 bytes"),
    ],
)
def test_anything_else_is_named(data: bytes, says: str) -> None:
    """Binary data, several labels, or too much."""
    with pytest.raises(BadRoute, match=says):
        read_route(data)


def test_links_that_differ_have_different_ids() -> None:
    """For any names of configurations and routes; a link without a route keeps its former id."""
    names = (None, "b", "b.c", "b/c", "c", "=2E", ".")
    links = [Link(pipeline="a", run_config_id=config, on_route=route) for config in names for route in names]
    assert len({link.id for link in links}) == len(links)
    assert Link(pipeline="a.b", run_config_id="c").id == "a=2Eb=2Fc"
