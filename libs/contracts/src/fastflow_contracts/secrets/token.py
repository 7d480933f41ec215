"""The form of a Fernet token. Pure."""

from __future__ import annotations

import base64
import binascii
from typing import Final

_TOKEN_VERSION: Final = 0x80

_TOKEN_BYTES: Final = 1 + 8 + 16 + 32  # version, time, initial vector, signature; the rest is whole blocks

_BLOCK_BYTES: Final = 16


def is_token(text: str) -> bool:
    """Return whether *text* has the form of a Fernet token, for any key."""
    try:
        data = base64.b64decode(text.strip(), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return False
    blocks_bytes = len(data) - _TOKEN_BYTES
    return blocks_bytes >= _BLOCK_BYTES and blocks_bytes % _BLOCK_BYTES == 0 and data[0] == _TOKEN_VERSION
