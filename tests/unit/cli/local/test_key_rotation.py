"""Rotation puts tokens under another key and changes nothing else in a file."""

from __future__ import annotations

import json

import pytest
from cryptography.fernet import Fernet

from fastflow.local.key_rotation import rotate
from fastflow_contracts.pipelines.format.json_positions import BadJson
from fastflow_contracts.secrets.sealing import Sealer
from fastflow_runner.secrets import SecretBox

NEW, OLD, FOREIGN = (Fernet.generate_key().decode() for _ in range(3))


def old(value: str, name: str | None = None, pipeline: str = "shop") -> str:
    return Sealer(OLD).seal(value, place=(pipeline, name) if name else None)


def test_only_the_tokens_of_a_file_change() -> None:
    """Indentation, order, line breaks, repeated keys and unknown fields stay; the new key opens every token."""
    tokens = [old("a", "A"), old("b", "B"), old("hook", "webhook.secret")]
    text = (
        '{ "x":1,\r\n\t"encrypted_env" : {"A":"%s" },  "unknown": {"encrypted_env": {"A": "stays"}},\n'
        '  "schedules": [{"id": "é", "encrypted_env": {"B":\n"%s"}}],\n"webhook": {"secret": "%s"} }\n'
    )
    done = rotate(text % tuple(tokens), (NEW, OLD), pipeline="shop")
    assert [token.state for token in done.tokens] == ["rotated"] * 3
    assert [token.line for token in done.tokens] == [2, 4, 5]
    found = json.loads(done.text)
    fresh = (found["encrypted_env"]["A"], found["schedules"][0]["encrypted_env"]["B"], found["webhook"]["secret"])
    assert done.text == text % fresh
    assert SecretBox(NEW).open({"A": fresh[0], "B": fresh[1]}, pipeline="shop") == {"A": "a", "B": "b"}
    assert Sealer(NEW).open_webhook_secret(fresh[2], pipeline="shop") == "hook"


def test_a_second_rotation_changes_nothing() -> None:
    """Tokens that are already under the first key stay as they are."""
    text = json.dumps({"encrypted_env": {"A": old("a", "A"), "B": old("b")}})
    once = rotate(text, (NEW, OLD), pipeline="shop")
    twice = rotate(once.text, (NEW, OLD), pipeline="shop")
    assert once.text != text
    assert twice.text == once.text
    assert [(token.state, token.is_bound) for token in twice.tokens] == [("current", True), ("current", False)]


def test_unusable_values_are_reported_and_stay() -> None:
    """Tokens of unknown keys, clear text, tokens for another place; odd JSON does not crash it."""
    env = {
        "A": Sealer(FOREIGN).seal("a", place=("shop", "A")),
        "B": "clear",
        "C": 7,
        "D": old("d", "D", "other"),
        "E": Fernet(OLD).encrypt(b"\xff").decode(),
    }
    done = rotate(json.dumps({"encrypted_env": env}), (NEW, OLD), pipeline="shop", bind=True)
    assert [token.state for token in done.tokens] == ["unopened", "no token", "no token", "elsewhere", "rotated"]
    after = json.loads(done.text)["encrypted_env"]
    assert [after[name] == env[name] for name in "ABCDE"] == [True, True, True, False, False]
    assert Fernet(NEW).decrypt(after["E"]) == b"\xff"
    for odd in ("[]", '{"encrypted_env": [], "schedules": {}, "webhook": 1}', '{"schedules": [1, {}]}', "null"):
        assert rotate(odd, (NEW,), pipeline="shop") == (odd, ())
    with pytest.raises(BadJson):
        rotate("{", (NEW,), pipeline="shop")


def test_old_tokens_can_be_bound() -> None:
    """A bound token opens only in its place. A webhook's token must be bound."""
    text = json.dumps({"encrypted_env": {"A": old("a")}, "webhook": {"secret": old("hook")}})
    assert [token.state for token in rotate(text, (OLD,), pipeline="shop").tokens] == ["current", "elsewhere"]
    done = rotate(text, (OLD,), pipeline="shop", bind=True)
    assert [(token.state, token.is_bound) for token in done.tokens] == [("bound", True)] * 2
    found = json.loads(done.text)
    assert SecretBox(OLD).unbound(found["encrypted_env"]) == ()
    assert Sealer(OLD).open_webhook_secret(found["webhook"]["secret"], pipeline="shop") == "hook"
