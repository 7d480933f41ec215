"""Secrets opened at the last moment: Fernet tokens in, clear values out, for one run of one pipeline. Pure.

A token is *bound* when its plaintext is an envelope that names a pipeline and a variable: it opens nowhere else. Tokens
without an envelope open anywhere. Nothing here ever shows a value, not even in an error.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from fastflow_runner.errors import RunnerError


class SecretError(RunnerError):
    """A variable's token cannot be opened, or not for this pipeline; the message names the variable."""


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Plaintext of a bound token: pipeline, name of the variable, value."""

    p: str
    k: str
    v: str


class SecretBox:
    """Opens tokens with any of several keys."""

    def __init__(self, keys: str) -> None:
        """*keys*: Fernet keys separated by commas; empty = no token opens. Raises ``SecretError`` for what is no key.
        """
        texts = [key.strip() for key in keys.split(",") if key.strip()]
        try:
            self._fernet = MultiFernet([Fernet(key) for key in texts]) if texts else None
        except ValueError as error:
            raise SecretError(
                "ENCRYPTION_KEY holds something that is no Fernet key; make one with `fastflow keys new`."
            ) from error

    def open(self, tokens: Mapping[str, str], *, pipeline: str) -> dict[str, str]:
        """The values of *tokens* by variable. Raises ``SecretError``."""
        return {name: self._open(name, token, pipeline) for name, token in tokens.items()}

    def _open(self, name: str, token: str, pipeline: str) -> str:
        if self._fernet is None:
            raise SecretError(f"{name} is encrypted, but this runner has no ENCRYPTION_KEY; give it the key.")
        try:
            plain = self._fernet.decrypt(token.encode()).decode()
        except (InvalidToken, UnicodeDecodeError):
            raise SecretError(
                f"no key of this runner opens {name}; encrypt it again, or add the key it was made with."
            ) from None
        try:
            envelope = msgspec.json.decode(plain, type=Envelope)
        except msgspec.DecodeError:
            return plain
        if (envelope.p, envelope.k) != (pipeline, name):
            raise SecretError(f"the token of {name} is of another pipeline or variable; encrypt the value anew.")
        return envelope.v
