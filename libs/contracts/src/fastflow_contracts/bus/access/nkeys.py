"""NKEYs: how NATS writes Ed25519 keys, and the signature with which a client proves that it has one. Pure.

A seed (``SU…``) is the secret, a public key (``U…``) is what the server knows. The signing is ``cryptography``'s; what
is here is the spelling: base32 of a kind, the key, and a checksum. (The ``nkeys`` distribution does the same, but comes
as source only: installing it by hash would run an unpinned build.)
"""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import TYPE_CHECKING, Final

from fastflow_contracts.errors import FastFlowError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SEED: Final = 18 << 3
_USER: Final = 20 << 3
_KEY_BYTES: Final = 32
_SEED_BYTES: Final = 2 + _KEY_BYTES + 2


class BadSeed(FastFlowError):
    """The text is not a user's seed."""


def new_seed() -> str:
    """Return a new secret."""
    return _written(bytes([_SEED | _USER >> 5, (_USER & 31) << 3]) + secrets.token_bytes(_KEY_BYTES))


def public_key(seed: str) -> str:
    """Return what the server must know of *seed*. Raises ``BadSeed``."""
    return _written(bytes([_USER]) + _private(seed).public_key().public_bytes_raw())


def sign(seed: str, nonce: str) -> bytes:
    """Return the signature of the server's *nonce*, as base64. Raises ``BadSeed``."""
    return base64.b64encode(_private(seed).sign(nonce.encode()))


def _private(seed: str) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # only who has a key pays for it

    return Ed25519PrivateKey.from_private_bytes(_key_in(seed))


def _key_in(seed: str) -> bytes:
    text = seed.strip()
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except binascii.Error:
        raw = b""
    if len(raw) != _SEED_BYTES or _checksum(raw[:-2]) != raw[-2:]:
        raise BadSeed("this is not an NKEY seed: one line that begins with SU, as `fastflow bus init` writes it.")
    if raw[0] & 0xF8 != _SEED or (raw[0] & 7) << 5 | raw[1] >> 3 != _USER:
        raise BadSeed("this NKEY is not a user's seed; a user's begins with SU.")
    return raw[2:-2]


def _written(raw: bytes) -> str:
    return base64.b32encode(raw + _checksum(raw)).decode().rstrip("=")


def _checksum(raw: bytes) -> bytes:
    return binascii.crc_hqx(raw, 0).to_bytes(2, "little")
