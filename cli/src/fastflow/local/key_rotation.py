"""Puts the tokens of a pipeline.json under another key, without touching any other character. Pure.

A token that is already under the first key stays as it is, so a second rotation changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from fastflow_contracts.pipelines.format.diagnostics import path_of
from fastflow_contracts.pipelines.format.json_positions import JsonNode, parse
from fastflow_contracts.secrets import envelope
from fastflow_contracts.secrets.envelope import WEBHOOK_SECRET, Envelope
from fastflow_contracts.secrets.token import is_token

State: TypeAlias = Literal["rotated", "bound", "current", "unopened", "elsewhere", "no token"]
"""``elsewhere``: not bound to its place, although it must be. It is rotated, and does not open here."""


class Token(NamedTuple):
    """One token, its place, and the outcome."""

    field: str
    line: int
    state: State
    is_bound: bool


class Rotated(NamedTuple):
    """The new text of a metadata file."""

    text: str
    tokens: tuple[Token, ...]


def rotate(text: str, keys: tuple[str, ...], *, pipeline: str, bind: bool = False) -> Rotated:
    """Put every token in *text* under the first of *keys*.

    Args:
        text: A pipeline.json.
        keys: Fernet keys; all of them may open a token.
        pipeline: The name of the pipeline.
        bind: Also bind the tokens that are not bound to a place.

    Raises:
        BadJson: *text* is not JSON.
    """
    changes: list[tuple[JsonNode, str]] = []
    tokens = []
    for name, field, node in _places(parse(text)):
        state, is_bound, token = _rotated(node.value, keys, (pipeline, name), bind=bind)
        if token is not None:
            changes.append((node, token))
        tokens.append(Token(field, node.line, state, is_bound))
    for node, token in sorted(changes, key=lambda change: change[0].start, reverse=True):
        text = f'{text[: node.start]}"{token}"{text[node.end :]}'
    return Rotated(text, tuple(sorted(tokens, key=lambda token: token.line)))


def _rotated(
    value: object, keys: tuple[str, ...], place: tuple[str, str], *, bind: bool
) -> tuple[State, bool, str | None]:
    """The token's state, whether it is bound afterwards, and the new token, if any."""
    if not isinstance(value, str) or not is_token(value):
        return "no token", False, None
    fernets = [Fernet(key) for key in keys]
    try:
        plain = MultiFernet(fernets).decrypt(value.strip())
    except InvalidToken:
        return "unopened", False, None
    is_current = _opens(fernets[0], value)
    token = None if is_current else MultiFernet(fernets).rotate(value.strip()).decode()
    try:
        text = plain.decode()
    except UnicodeDecodeError:  # neither a variable nor an envelope can hold it
        return ("current" if is_current else "rotated"), False, token
    held = envelope.unpack(text)
    if held is None and bind:
        return "bound", True, fernets[0].encrypt(envelope.pack(Envelope(*place, text)).encode()).decode()
    if held is None and place[1] == WEBHOOK_SECRET:
        return "elsewhere", False, token
    if held is not None and (held.pipeline, held.name) != place:
        return "elsewhere", True, token
    return ("current" if is_current else "rotated"), held is not None, token


def _opens(fernet: Fernet, token: str) -> bool:
    try:
        fernet.decrypt(token.strip())
    except InvalidToken:
        return False
    return True


def _places(root: JsonNode) -> Iterator[tuple[str, str, JsonNode]]:
    """Name, path and node of every value that should be a token."""
    yield from _of(root, "")
    schedules = _member(root, "schedules")
    if schedules is not None and isinstance(schedules.value, list):
        for index, entry in enumerate(schedules.value):
            yield from _of(entry, f"schedules[{index}]")


def _of(part: JsonNode, path: str) -> Iterator[tuple[str, str, JsonNode]]:
    encrypted = _member(part, "encrypted_env")
    if encrypted is not None and isinstance(encrypted.value, dict):
        for name, node in encrypted.value.items():
            yield name, path_of(path_of(path, "encrypted_env"), name), node
    webhook = _member(part, "webhook")
    if webhook is not None and (secret := _member(webhook, "secret")) is not None:
        yield WEBHOOK_SECRET, path_of(path_of(path, "webhook"), "secret"), secret


def _member(node: JsonNode, name: str) -> JsonNode | None:
    return node.value.get(name) if isinstance(node.value, dict) else None
