"""Encrypts secrets into tokens, and opens the webhook secrets that a gateway needs. Pure.

The key can open every token. In a gateway only this module holds it, and it opens only tokens that are bound to
``webhook.secret`` of the called pipeline; docs/adr/0007-signed-webhooks.md says why. No message of this module contains
a value, a token or a key.
"""

from __future__ import annotations

from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.secrets import envelope
from fastflow_contracts.secrets.envelope import WEBHOOK_SECRET, Envelope

VALUE_CHARACTERS_MAX: Final = 32_768


class NoKey(FastFlowError):
    """This gateway has no ``ENCRYPTION_KEY``."""


class BadSecret(FastFlowError):
    """The value cannot be a secret, or a webhook's token is unusable. The message says what to do."""


class Sealer:
    """Encrypts with the first of several keys; opens webhook secrets with any of them."""

    def __init__(self, keys: str) -> None:
        """*keys*: the value of ``ENCRYPTION_KEY``; may be empty. Raises ``BadKey``."""
        fernets = [Fernet(key) for key in envelope.split_keys(keys)]
        self._keys = MultiFernet(fernets) if fernets else None

    @property
    def has_key(self) -> bool:
        return self._keys is not None

    def seal(self, value: str, *, place: tuple[str, str] | None = None) -> str:
        """Encrypt *value* into a token.

        Args:
            value: The secret.
            place: Pipeline and name that the token is bound to; None: any place can open it.

        Raises:
            NoKey: There is no key.
            BadSecret: The value cannot be a secret.
        """
        if self._keys is None:
            raise NoKey(
                "this gateway has no ENCRYPTION_KEY, so it cannot encrypt; make one with `fastflow keys new`, give "
                "it to the gateway and to every runner (ENCRYPTION_KEY or ENCRYPTION_KEY_FILE), and restart them."
            )
        if not value:
            raise BadSecret("the value is empty; a secret has at least one character.")
        if len(value) > VALUE_CHARACTERS_MAX:
            raise BadSecret(f"the value has more than {VALUE_CHARACTERS_MAX:,} characters, which no variable can hold.")
        if "\0" in value:
            raise BadSecret("the value has a NUL character, which no variable can hold; encode it first.")
        if place is None and envelope.unpack(value) is not None:
            raise BadSecret("a value of this form must be bound; send the pipeline and the name too.")
        plain = value if place is None else envelope.pack(Envelope(*place, value))
        try:
            return self._keys.encrypt(plain.encode()).decode()
        except UnicodeEncodeError:
            raise BadSecret("the value has half of a surrogate pair; send it as UTF-8.") from None

    def open_webhook_secret(self, token: str, *, pipeline: str) -> str:
        """Open the webhook secret of *pipeline*. Raises ``NoKey`` or ``BadSecret``."""
        if self._keys is None:
            raise NoKey("this gateway has no ENCRYPTION_KEY, so it cannot check signatures; set it.")
        try:
            found = envelope.unpack(self._keys.decrypt(token).decode())
        except (InvalidToken, UnicodeDecodeError):
            raise BadSecret(
                f"no key of this gateway opens the {WEBHOOK_SECRET} of {pipeline}; encrypt it again."
            ) from None
        if found is None or (found.pipeline, found.name) != (pipeline, WEBHOOK_SECRET) or not found.value:
            raise BadSecret(
                f"the {WEBHOOK_SECRET} of {pipeline} was not made for it; "
                f"use fastflow encrypt --pipeline {pipeline} --name {WEBHOOK_SECRET}."
            )
        return found.value
