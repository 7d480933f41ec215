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
def test_safe_names(text: str) -> None:
    """A safe name is returned as it is."""
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
def test_unsafe_names(text: str, why: str) -> None:
    """An unsafe name is refused with the reason and what to do."""
    with pytest.raises(BadName, match=re.escape(why)) as refusal:
        check_name(text)
    assert "rename" in str(refusal.value)


@given(NAMES)
def test_names_survive_as_tokens(name: str) -> None:
    """A name comes back from its token unchanged."""
    assert name_of(token(name)) == name


@given(st.text())
def test_any_text_is_a_token(text: str) -> None:
    """Any text makes a non-empty token of safe characters and comes back unchanged."""
    assert re.fullmatch(r"[A-Za-z0-9_=-]+", token(text))
    assert text_of(token(text)) == text


@given(st.text(alphabet="aA.=-_2E4é"), st.text(alphabet="aA.=-_2E4é"))
def test_tokens_are_injective(one: str, other: str) -> None:
    """Different texts have different tokens."""
    assert (token(one) == token(other)) == (one == other)


def test_dots_are_encoded() -> None:
    """A dot in a name never splits a subject."""
    assert token("etl.daily") == "etl=2Edaily"


@pytest.mark.parametrize("text", ["", "a.b", "a=2", "a=2e", "=41", "=FF", "a b", "a\n", ">", "*", "=="])
def test_foreign_tokens(text: str) -> None:
    """Text that no encoding made is refused, never guessed at."""
    with pytest.raises(BadToken):
        text_of(text)


@given(st.text(alphabet="aZ9_-=.2E4F\n*"))
def test_decoding_never_invents(text: str) -> None:
    """Whatever decodes is the only token of what it decodes to."""
    try:
        decoded = text_of(text)
    except BadToken:
        return
    assert token(decoded) == text
