"""What tokens of ``encrypted_env`` are made of: keys outside, and inside a value or an envelope. Pure.

A token is Fernet's. It holds the value itself or, if it is bound to one place, an envelope around it: the JSON object
``{"p": pipeline, "k": name, "v": value}`` with just these three strings. An envelope opens nowhere else, so a token
copied into another pipeline's folder is useless there. Other modules encrypt and decrypt: this
is what they agree on. No message of this module holds a value or a key.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Final, NamedTuple

from fastflow_contracts.errors import FastFlowError

KEY_BYTES: Final = 32

WEBHOOK_SECRET = "webhook.secret"  # noqa: S105 - a name
"""The name that the secret of a ``webhook`` is bound to; those of ``encrypted_env`` have their variable's."""


class BadKey(FastFlowError):
    """The text is not an encryption key."""


class Envelope(NamedTuple):
    """A value and the only place where it counts."""

    pipeline: str
    name: str
    value: str


def pack(envelope: Envelope) -> str:
    """Return the text to encrypt."""
    return json.dumps({"p": envelope.pipeline, "k": envelope.name, "v": envelope.value}, ensure_ascii=False)


def unpack(plain: str) -> Envelope | None:
    """Return the envelope in *plain*; None if *plain* is the value itself."""
    try:
        found = json.loads(plain)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict) and found.keys() == {"p", "k", "v"} and all(isinstance(v, str) for v in found.values()):
        return Envelope(found["p"], found["k"], found["v"])
    return None


def split_keys(keys: str) -> tuple[str, ...]:
    """Return the keys of an ``ENCRYPTION_KEY``, separated by commas; the first one encrypts. Raises ``BadKey``."""
    found = tuple(filter(None, (key.strip() for key in keys.split(","))))
    for number, key in enumerate(found, start=1):
        try:
            is_key = len(base64.b64decode(key, altchars=b"-_", validate=True)) == KEY_BYTES
        except (ValueError, binascii.Error):
            is_key = False
        if not is_key:
            raise BadKey(
                f"Key {number} of ENCRYPTION_KEY is not a Fernet key: it must be {KEY_BYTES} bytes in URL-safe base64. "
                "Make one with `fastflow keys new`."
            )
    return found
