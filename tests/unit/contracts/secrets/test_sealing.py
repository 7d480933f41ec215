"""What the gateway does with secrets."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.secrets import envelope
from fastflow_contracts.secrets.envelope import WEBHOOK_SECRET, BadKey, Envelope
from fastflow_contracts.secrets.sealing import VALUE_CHARACTERS_MAX, BadSecret, NoKey, Sealer
from fastflow_gateway.views.redaction import hide_secrets
from fastflow_runner.secrets import SecretBox, SecretError

KEY, OLD_KEY = Fernet.generate_key().decode(), Fernet.generate_key().decode()
SEALER, BOX = Sealer(f"{KEY},{OLD_KEY}"), SecretBox(KEY)
values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(values, values, values)
def test_the_runner_opens_what_the_gateway_seals(value: str, pipeline: str, name: str) -> None:
    """Bound or not, with the first key."""
    token = SEALER.seal(value, place=(pipeline, name))
    assert BOX.open({name: token}, pipeline=pipeline) == {name: value}
    assert BOX.unbound({name: token}) == ()
    if envelope.unpack(value) is None:
        assert BOX.open({"A": SEALER.seal(value)}, pipeline="any") == {"A": value}


@pytest.mark.parametrize("place", [("shop", "OTHER"), ("other", "KEY")])
def test_a_bound_token_opens_only_in_its_place(place: tuple[str, str]) -> None:
    """Not under another name and not in another pipeline."""
    with pytest.raises(SecretError, match="another"):
        BOX.open({"KEY": SEALER.seal("hunter2", place=place)}, pipeline="shop")


@pytest.mark.parametrize("value", ["", "a\0b", "x" * (VALUE_CHARACTERS_MAX + 1), '{"p":"a","k":"b","v":"c"}', "\udc80"])
def test_a_value_that_no_variable_can_hold_is_refused(value: str) -> None:
    """So is a value that looks like an envelope. The message does not repeat it."""
    with pytest.raises(BadSecret) as caught:
        SEALER.seal(value)
    assert not value or value not in str(caught.value)


def test_without_a_key_the_error_says_what_to_do() -> None:
    """Where to get one, and which services need it. An invalid key is refused at the start."""
    with pytest.raises(NoKey, match="fastflow keys new"):
        Sealer("").seal("hunter2")
    with pytest.raises(NoKey, match="ENCRYPTION_KEY"):
        Sealer("").open_webhook_secret(SEALER.seal("x"), pipeline="shop")
    with pytest.raises(BadKey, match="Key 1"):
        Sealer("abc")
    assert not Sealer(" , ").has_key


def test_only_the_secret_of_a_pipelines_own_webhook_is_opened() -> None:
    """Not a variable's, not another pipeline's, not an unbound one, not one of an unknown key."""
    good = SEALER.seal("hunter2", place=("shop", WEBHOOK_SECRET))
    assert SEALER.open_webhook_secret(good, pipeline="shop") == "hunter2"
    old = Sealer(OLD_KEY).seal("hunter2", place=("shop", WEBHOOK_SECRET))
    assert SEALER.open_webhook_secret(old, pipeline="shop") == "hunter2"
    for token in (
        SEALER.seal("hunter2", place=("shop", "API_KEY")),
        SEALER.seal("hunter2", place=("other", WEBHOOK_SECRET)),
        SEALER.seal("hunter2"),
        Sealer(Fernet.generate_key().decode()).seal("hunter2", place=("shop", WEBHOOK_SECRET)),
        Fernet(KEY).encrypt(envelope.pack(Envelope("shop", WEBHOOK_SECRET, "")).encode()).decode(),
        Fernet(KEY).encrypt(b"\xff").decode(),
    ):
        with pytest.raises(BadSecret) as caught:
            SEALER.open_webhook_secret(token, pipeline="shop")
        assert "hunter2" not in str(caught.value)
        assert token not in str(caught.value)


def test_the_token_of_a_webhook_is_hidden() -> None:
    """Like those of variables; the webhook's other fields are shown."""
    text = '{"webhook": {"verify": "github", "secret": "t1"}, "schedules": [{"id": "a", "webhook": {"secret": "t2"}}]}'
    shown = hide_secrets(text)
    assert "t1" not in shown
    assert "t2" not in shown
    assert "github" in shown
    assert hide_secrets('{"webhook": "t3"}') == '{\n  "webhook": "***"\n}\n'
