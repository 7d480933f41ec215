"""How long a caller prefers to wait, from the header ``Prefer``."""

from __future__ import annotations

import time

import pytest

from fastflow_contracts.runs.calls import WAIT_S_MAX, preferred_wait_s


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        (["wait=30"], 30),
        (["respond-async, wait=10"], 10),
        (["Wait = 5"], 5),
        (['wait="7"'], 7),
        (["wait=8; foo=bar"], 8),
        (["handling=lenient, wait=100, respond-async"], WAIT_S_MAX),
        (["return=minimal", "wait=9"], 9),
        (["wait=3, wait=4"], 3),
        (["wait=0"], 0),
        (["wait=0010"], 10),
        (['foo="a, wait=3", wait=4'], 4),
        (['foo="a \\" , wait=3", wait=4'], 4),
        ([f"wait={'9' * 900}"], WAIT_S_MAX),
        ([], None),
        ([""], None),
        (["wait"], None),
        (["wait=-1"], None),
        (["wait=1.5"], None),
        (["wait=soon, wait=4"], None),
        (["await=3"], None),
        (["wait-more=3"], None),
        (["foo;wait=3"], None),
        (['wait="3'], None),
        (['foo="wait=3'], None),
    ],
)
def test_a_preference_is_read_as_rfc_7240_says(values: list[str], seconds: int | None) -> None:
    """Names in any case, quoted values, lists and parameters; the first one counts; others are passed over."""
    assert preferred_wait_s(values) == seconds


@pytest.mark.parametrize("value", ['"\\' * 500_000, '"' * 1_000_001, "wait=" + "0" * 1_000_000, "," * 1_000_000])
def test_a_long_header_costs_nothing(value: str) -> None:
    """A message on the bus may have one of megabytes."""
    began_s = time.process_time()
    preferred_wait_s([value])
    assert time.process_time() - began_s < 5
