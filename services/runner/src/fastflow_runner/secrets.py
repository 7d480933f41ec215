"""Decrypts the tokens of ``encrypted_env`` into the values a script gets. Pure, and the only place that decrypts.

A token is a Fernet token. Its plaintext is the value itself, or an envelope (``fastflow_contracts.secrets.envelope``)
that binds it to one variable of one pipeline.

No message of this module contains a value, a token or a key.
"""

from __future__ import annotations

from collections.abc import Mapping

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from fastflow_contracts.secrets import envelope
from fastflow_contracts.secrets.envelope import BadKey, Envelope
from fastflow_contracts.secrets.token import is_token
from fastflow_runner.errors import RunnerError

__all__ = ["BadKey", "SecretBox", "SecretError", "is_token"]


class SecretError(RunnerError):
    """A variable of ``encrypted_env`` cannot be decrypted. The message names it."""


class SecretBox:
    """Decrypts tokens with any of several keys, so that keys can be rotated."""

    def __init__(self, keys: str) -> None:
        """*keys*: the value of ``ENCRYPTION_KEY``, separated by commas; may be empty. Raises ``BadKey``."""
        fernets = [Fernet(key) for key in envelope.split_keys(keys)]
        self._keys = MultiFernet(fernets) if fernets else None

    def open(self, tokens: Mapping[str, str], *, pipeline: str) -> dict[str, str]:
        """Decrypt *tokens* (variable -> token) for this pipeline. Raises ``SecretError``.

        Text that does not have the form of a token is skipped: its variable stays unset, as the sync has warned.
        """
        return {name: self._open(name, token, pipeline) for name, token in tokens.items() if is_token(token)}

    def unbound(self, tokens: Mapping[str, str]) -> tuple[str, ...]:
        """The variables whose tokens are valid in any pipeline. Raises ``SecretError``."""
        return tuple(
            name for name, token in tokens.items() if is_token(token) and isinstance(self._read(name, token), str)
        )

    def _open(self, name: str, token: str, pipeline: str) -> str:
        found = self._read(name, token)
        if isinstance(found, Envelope) and (found.pipeline, found.name) != (pipeline, name):
            raise SecretError(
                f"the token of {name} was made for another pipeline or variable; encrypt it for this one."
            )
        value = found.value if isinstance(found, Envelope) else found
        if "\0" in value:
            raise SecretError(f"the value of {name} holds a NUL character, which no variable can; encode it first.")
        return value

    def _read(self, name: str, token: str) -> Envelope | str:
        if self._keys is None:
            raise SecretError(f"{name} is encrypted, but this runner has no ENCRYPTION_KEY; set it.")
        try:
            plain = self._keys.decrypt(token.strip()).decode()
        except InvalidToken:
            raise SecretError(f"no key of this runner opens {name}; encrypt its value again.") from None
        except UnicodeDecodeError:
            raise SecretError(f"the value of {name} is not text in UTF-8; encode it before encrypting it.") from None
        return envelope.unpack(plain) or plain
