"""Names and tokens."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.names import (
    BadName,
    BadToken,
    check_name,
    name_of,
    text_of,
    token,
)

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)


@pytest.mark.parametrize("text", ["a", "pipeline_a", "etl.daily", "2nd-try", "A" * 64, "a..b", "x."])
def test_a_safe_name_is_returned_unchanged(text: str) -> None:
    """Letters, digits and the accepted signs."""
    assert check_name(text) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("a" * 65, "65 characters"),
        ("my pipeline", "' '"),
        ("größe", "'ö'"),
        ("name\n", "'\\n'"),
        ("a/b", "'/'"),
        (".hidden", "begins with '.'"),
        ("-x", "begins with '-'"),
        ("..", "begins with '.'"),
    ],
)
def test_an_unsafe_name_is_refused(text: str, why: str) -> None:
    """With the reason and what to do."""
    with pytest.raises(BadName, match=re.escape(why)) as refusal:
        check_name(text)
    assert "rename" in str(refusal.value)


@given(NAMES)
def test_a_name_comes_back_from_its_token(name: str) -> None:
    """Unchanged."""
    assert name_of(token(name)) == name


@given(st.text())
def test_any_text_has_a_token(text: str) -> None:
    """It has only safe characters, is not empty, and decodes to the text."""
    assert re.fullmatch(r"[A-Za-z0-9_=-]+", token(text))
    assert text_of(token(text)) == text


@given(st.text(alphabet="aA.=-_2E4é"), st.text(alphabet="aA.=-_2E4é"))
def test_different_texts_have_different_tokens(one: str, other: str) -> None:
    """Otherwise two pipelines would share a key."""
    assert (token(one) == token(other)) == (one == other)


def test_a_dot_in_a_name_never_splits_a_subject() -> None:
    """It is encoded."""
    assert token("etl.daily") == "etl=2Edaily"


@pytest.mark.parametrize("text", ["", "a.b", "a=2", "a=2e", "=41", "=FF", "a b", "a\n", ">", "*", "=="])
def test_a_text_that_is_not_a_token_is_refused(text: str) -> None:
    """It is never guessed at."""
    with pytest.raises(BadToken):
        text_of(text)


@given(st.text(alphabet="aZ9_-=.2E4F\n*"))
def test_a_token_is_the_only_one_of_its_text(text: str) -> None:
    """What decodes encodes back to the same token."""
    try:
        decoded = text_of(text)
    except BadToken:
        return
    assert token(decoded) == text
