"""Patterns that are matched in linear time mean what they mean elsewhere."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.pipelines.parameters.pattern import BadPattern, compiled

GOOD = """
    ^[a-z]{2,5}$ ^\\d{4}-\\d{2}$ (a|aa)*$ ^(a?){3}a{3}$ \\bcat\\b ^$ x ^[^a-c\\d]+$ a.c ^(ab|c)+?d$ [a-z0-9_]{1,}
    ^\\S+@\\S+$     (?:a|b)?c ^a{0}$ \\Bb a|b| ^[\\w.-]+$ \\. ^(?P<name>a)b$ [^b]$
"""


class Stopped(Exception):
    """The work is more than this test allows."""


def found(pattern: str, text: str, *, work_max: int = 50_000) -> bool:
    left = work_max

    def spend(work: int) -> None:
        nonlocal left
        left -= work
        if left < 0:
            raise Stopped

    return compiled(pattern).found_in(text, spend)


@pytest.mark.parametrize("pattern", GOOD.split())
@given(text=st.text("abcd0-9.@_ xt", max_size=8))
def test_a_pattern_finds_what_python_finds(pattern: str, text: str) -> None:
    """In texts of one line, where ``$`` has one meaning."""
    assert found(pattern, text) == bool(re.search(pattern, text))


@pytest.mark.parametrize(
    "pattern", ["((a+)+)+$", "^(a*)*$", "^(a|aa)*$", "^(a|a?)*$", "^(a?){20}a{20}$", "(.*)*x$", "(a+)+$"]
)
def test_a_pattern_that_backtracks_for_years_elsewhere_is_cheap(pattern: str) -> None:
    """Each character costs no more than the pattern is large."""
    assert found(pattern, "a" * 200 + "!", work_max=201 * 200) is False


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(?=.*[0-9])a", "cannot be matched in bounded time"),
        ("(?!a)b", "cannot be matched in bounded time"),
        (r"(a)\1", "cannot be matched in bounded time"),
        ("(?i)a", "changes flags"),
        ("(?i:a)", "changes flags"),
        ("(", "not a regular expression"),
        ("a**", "not a regular expression"),
        (r"\p{L}", "not a regular expression"),
        ("((a{100}){100}){100}", "too large"),
        ("(?:(?:(?:){1000}){1000}){1000}", "too large"),
        ("(?:){4294967294}", "too large"),
        ("a{99999999999999999999}", "not a regular expression"),
        ("a" * 1001, "more than 1,000 characters"),
    ],
)
def test_a_pattern_that_cannot_be_bounded_is_refused(pattern: str, said: str) -> None:
    """With the reason."""
    with pytest.raises(BadPattern, match=said):
        compiled(pattern)


def test_the_end_is_the_end_of_the_text() -> None:
    """As in ECMAScript, whose expressions these are: a line break at the end is a character."""
    assert found("^a$", "a")
    assert not found("^a$", "a\n")


def test_digits_are_those_of_ascii() -> None:
    assert not found(r"^\d$", "٣")


def test_work_is_paid_for_as_it_is_done() -> None:
    with pytest.raises(Stopped):
        found("^[a-z]*$", "a" * 20_000, work_max=10_000)
