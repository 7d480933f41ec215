"""Which tokens of ``encrypted_env`` a runner opens."""

import json

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.secrets.token import is_token
from fastflow_runner.secrets import BadKey, SecretBox, SecretError

KEY, OLD_KEY = Fernet.generate_key().decode(), Fernet.generate_key().decode()
BOX = SecretBox(KEY)
values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def token(plain: str, key: str = KEY) -> str:
    return Fernet(key).encrypt(plain.encode()).decode()


def bound(pipeline: str, name: str, value: str) -> str:
    return token(json.dumps({"p": pipeline, "k": name, "v": value}))


@given(values)
def test_a_value_comes_back_bound_or_not(value: str) -> None:
    """The plain token and the token made for this pipeline and variable hold the same value."""
    tokens = {"A": token(json.dumps(value)), "B": bound("sales", "B", value)}
    assert BOX.open(tokens, pipeline="sales") == {"A": json.dumps(value), "B": value}


@pytest.mark.parametrize(("pipeline", "name"), [("sales", "OTHER"), ("other", "API_KEY")])
def test_a_bound_token_opens_nowhere_else(pipeline: str, name: str) -> None:
    """Copied to another variable or another pipeline, it fails the run."""
    with pytest.raises(SecretError, match=rf"{name} was made for another"):
        BOX.open({name: bound("sales", "API_KEY", "hunter2")}, pipeline=pipeline)


def test_unbound_tokens_are_named() -> None:
    """So that a person can bind them; values that are not tokens are not named."""
    tokens = {"A": token("x"), "B": bound("sales", "B", "x"), "C": "clear"}
    assert BOX.unbound(tokens) == ("A",)
    assert BOX.open(tokens, pipeline="sales") == {"A": "x", "B": "x"}


def test_json_that_is_not_an_envelope_is_a_value() -> None:
    """An envelope is an object of exactly p, k and v, all strings."""
    for plain in ('{"p": "a", "k": "b"}', '{"p": 1, "k": "b", "v": "c"}', '["p", "k", "v"]', "[" * 100_000):
        assert BOX.open({"A": token(plain)}, pipeline="sales") == {"A": plain}


def test_keys_are_rotated_by_putting_the_new_one_first() -> None:
    """Tokens of every listed key open, in any order and with any blanks."""
    box = SecretBox(f" {KEY} , {OLD_KEY},")
    assert box.open({"A": token("new"), "B": token("old", OLD_KEY)}, pipeline="p") == {"A": "new", "B": "old"}


def test_a_token_of_a_foreign_key_fails_the_run_and_is_not_shown() -> None:
    """The error names the variable, but neither the token nor a key."""
    foreign = token("hunter2", OLD_KEY)
    with pytest.raises(SecretError, match="opens API_KEY") as caught:
        BOX.open({"API_KEY": foreign}, pipeline="sales")
    assert foreign not in str(caught.value)
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None


def test_without_any_key_a_token_fails_the_run() -> None:
    """The error says which variable needs a key; without tokens no key is needed."""
    with pytest.raises(SecretError, match="API_KEY is encrypted, but this runner has no ENCRYPTION_KEY"):
        SecretBox("").open({"API_KEY": token("x")}, pipeline="sales")
    assert SecretBox("").open({}, pipeline="sales") == {}


@given(st.text())
def test_a_value_that_is_not_a_token_leaves_its_variable_unset(text: str) -> None:
    """Plain text in the place of a token is not opened and fails nothing."""
    assert SecretBox("").open({"A": text}, pipeline="sales") == {}


@given(st.binary())
def test_every_fernet_token_has_the_form_of_one(plain: bytes) -> None:
    """The form is checked without a key."""
    assert is_token(Fernet(KEY).encrypt(plain).decode())


@pytest.mark.parametrize("plain", [b"a\0b", b"\xff\xfe"])
def test_a_value_that_no_variable_can_hold_is_refused(plain: bytes) -> None:
    """NUL characters and bytes that are not UTF-8 fail the run before it starts."""
    with pytest.raises(SecretError, match="API_KEY"):
        BOX.open({"API_KEY": Fernet(KEY).encrypt(plain).decode()}, pipeline="sales")


def test_an_invalid_key_is_named_by_its_position() -> None:
    """The error does not show it."""
    with pytest.raises(BadKey, match="Key 2 of ENCRYPTION_KEY") as caught:
        SecretBox(f"{KEY},not-a-key")
    assert "not-a-key" not in str(caught.value)
