"""Patterns that are matched in linear time mean what they mean elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.pipelines.parameters.pattern import BadPattern, compiled

GOOD = """
    ^[a-z]{2,5}$ ^\\d{4}-\\d{2}$ (a|aa)*$ ^(a?){3}a{3}$ \\bcat\\b ^$ x ^[^a-c\\d]+$ a.c ^(ab|c)+?d$ [a-z0-9_]{1,}
    ^\\S+@\\S+$     (?:a|b)?c ^a{0}$ \\Bb a|b| ^[\\w.-]+$ \\. ^(?P<name>a)b$ [^b]$
    (?i)^A (?i:B)c ^\\u0061 [\\u0061-\\u0063]{3}
"""


def found(pattern: str, text: str) -> bool:
    return compiled(pattern).found_in(text, lambda _: None)


def work(pattern: str, text: str) -> int:
    compiled(pattern).found_in(text, (spent := list[int]()).append)
    return sum(spent)


@pytest.mark.parametrize("pattern", GOOD.split())
@given(text=st.text("abcd0-9.@_ xt", max_size=8))
def test_a_pattern_finds_what_python_finds(pattern: str, text: str) -> None:
    """In texts of one line and of ASCII, where ``$`` and ``\\w`` have one meaning."""
    assert found(pattern, text) == bool(re.search(pattern, text))


@pytest.mark.parametrize(
    "pattern",
    ["((a+)+)+$", "^(a*)*$", "^(a|aa)*$", "^(a|a?)*$", "^(a?){20}a{20}$", "(.*)*x$", "(a+)+$", "(a|b)*a(a|b){12}x"],
)
def test_a_pattern_that_backtracks_for_years_elsewhere_has_an_answer(pattern: str) -> None:
    """Also for a long text."""
    assert found(pattern, "a" * 16_384 + "!") is False


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(?=.*[0-9])a", r"\(\?=…\) is not accepted: it cannot be matched in bounded time"),
        ("(?!a)b", r"\(\?!…\) is not accepted: it cannot be matched in bounded time"),
        ("(?<=a)b", r"\(\?<=…\) is not accepted: it cannot be matched in bounded time"),
        ("(?<!a)b", r"\(\?<!…\) is not accepted: it cannot be matched in bounded time"),
        (r"(a)\1", "a reference to a group is not accepted"),
        (r"(?<name>a)\k<name>", "a reference to a group is not accepted"),
        (r"(?P<name>a)(?P=name)", "a reference to a group is not accepted"),
        ("(?>a)", "not a regular expression"),
        ("(", r"not a regular expression: missing \)"),
        ("a**", "not a regular expression"),
        (r"\p{Letter}", "not a regular expression"),
        (r"\ud83d\ude00", "not a regular expression"),
        ("\ud800", "half of a character"),
        ("a{3,2}", "the smaller number comes first"),
        ("a{1001}", "1,000 at most"),
        ("((a{100}){100}){100}", "multiply to 1,000 at most"),
        ("(?:(?:(?:){1000}){1000}){1000}", "multiply to 1,000 at most"),
        (r"\pL{1000}", "too large"),
        ("a" * 1001, "more than 1,000 characters"),
        ("(" * 1000, "not a regular expression"),
    ],
)
def test_a_pattern_that_cannot_be_bounded_is_refused(pattern: str, said: str) -> None:
    """With the reason."""
    with pytest.raises(BadPattern, match=said):
        compiled(pattern)


@pytest.mark.parametrize(
    ("pattern", "text", "is_found"),
    [
        ("^a$", "a", True),
        ("^a$", "a\n", False),  # as in ECMAScript: a line break at the end is a character
        ("a.b", "a\nb", False),
        (r"^\d$", "٣", False),
        (r"^\w$", "é", False),
        (r"^\p{L}+$", "Zoë", True),
        (r"^[\u4e00-\u9fa5]+$", "中文", True),
        (r"^\\u0061$", r"\u0061", True),  # an escaped backslash, then letters
        ("^.$", "😀", True),
        ("^a\0b$", "a\0b", True),
        ("a", "\ud800a", True),
        ("^$", "", True),
    ],
)
def test_the_syntax_is_that_of_the_documents(pattern: str, text: str, is_found: bool) -> None:
    """Of RE2, where it differs from Python's."""
    assert found(pattern, text) is is_found


def test_work_grows_with_the_pattern_and_with_the_text() -> None:
    """It is at most the size of one times the length of the other."""
    small, large = "^[a-z]+$", "^[a-z]{900}$"
    assert compiled(small).work < compiled(large).work
    assert work(small, "a" * 10_000) < work(small, "a" * 20_000) < work(large, "a" * 20_000)


def test_work_is_paid_for_before_it_is_done() -> None:
    def refuse(_: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        compiled("a").found_in("a", refuse)


def test_the_library_is_imported_when_a_pattern_is_used() -> None:
    """A schema without one costs no memory in any service."""
    code = "from fastflow_contracts.pipelines.parameters.check import wrong_values as w; import sys; "
    code += (
        "w({'type': 'object'}, {}); print('re2' in sys.modules); w({'pattern': 'a'}, 'a'); print('re2' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True"]
