"""From the tokens of ``encrypted_env`` to the values a script gets. Pure, and the only place that decrypts.

A token is Fernet's. Its plaintext is the value itself, or an envelope that binds it to one variable of one
pipeline: the JSON object ``{"p": pipeline, "k": variable, "v": value}`` with just these three texts. An envelope
opens nowhere else, so a token copied into another pipeline's folder is worth nothing there.

No message of this module holds a value, a token or a key.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from fastflow_runner.errors import RunnerError

_TOKEN_VERSION: Final = 0x80
_TOKEN_BYTES: Final = 1 + 8 + 16 + 32  # version, time, initial vector, signature; the rest is whole blocks
_BLOCK_BYTES: Final = 16


class BadKey(RunnerError):
    """What is given as an encryption key is none."""


class SecretError(RunnerError):
    """A variable of ``encrypted_env`` cannot be opened here; the message names it."""


class SecretBox:
    """Opens tokens with any of several keys, so that keys can be rotated."""

    def __init__(self, keys: str) -> None:
        """*keys*: as in ``ENCRYPTION_KEY``, separated by commas; may be empty. Raises ``BadKey``."""
        fernets = []
        for number, key in enumerate(filter(None, (key.strip() for key in keys.split(","))), start=1):
            try:
                fernets.append(Fernet(key))
            except (ValueError, binascii.Error):
                raise BadKey(
                    f"Key {number} of ENCRYPTION_KEY is no Fernet key: it must be 32 bytes in URL-safe base64. "
                    "Make one with cryptography.fernet.Fernet.generate_key()."
                ) from None
        self._keys = MultiFernet(fernets) if fernets else None

    def open(self, tokens: Mapping[str, str], *, pipeline: str) -> dict[str, str]:
        """The values of *tokens* (variable -> token), for this pipeline. Raises ``SecretError``.

        What is not even the form of a token is left out: its variable stays unset, as the sync has warned.
        """
        return {name: self._open(name, token, pipeline) for name, token in tokens.items() if is_token(token)}

    def _open(self, name: str, token: str, pipeline: str) -> str:
        if self._keys is None:
            raise SecretError(f"{name} is encrypted, but this runner has no ENCRYPTION_KEY; set it.")
        try:
            plain = self._keys.decrypt(token.strip()).decode()
        except InvalidToken:
            raise SecretError(f"No key of this runner opens {name}; encrypt its value again.") from None
        except UnicodeDecodeError:
            raise SecretError(f"The value of {name} is not text in UTF-8; encode it before encrypting it.") from None
        envelope = _envelope(plain)
        value = plain if envelope is None else envelope["v"]
        if envelope is not None and (envelope["p"], envelope["k"]) != (pipeline, name):
            raise SecretError(
                f"The token of {name} was made for another pipeline or variable; encrypt it for this one."
            )
        if "\0" in value:
            raise SecretError(f"The value of {name} holds a NUL character, which no variable can; encode it first.")
        return value


def is_token(text: str) -> bool:
    """Whether *text* has the form of a Fernet token, whatever its key."""
    try:
        data = base64.b64decode(text.strip(), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return False
    blocks_bytes = len(data) - _TOKEN_BYTES
    return blocks_bytes >= _BLOCK_BYTES and blocks_bytes % _BLOCK_BYTES == 0 and data[0] == _TOKEN_VERSION


def _envelope(plain: str) -> dict[str, str] | None:
    try:
        found = json.loads(plain)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict) and found.keys() == {"p", "k", "v"} and all(isinstance(v, str) for v in found.values()):
        return found
    return None
