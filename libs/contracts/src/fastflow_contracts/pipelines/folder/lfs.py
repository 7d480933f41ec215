"""Pointers of Git LFS: the text that stands in a repository in the place of a large file. Pure."""

from __future__ import annotations

import re
from typing import Final

import msgspec

POINTER_BYTES_MAX: Final = 1_024
"""A pointer is shorter than this."""
_POINTER: Final = re.compile(
    rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/v1\r?\n"
    rb"(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\r?\nsize ([0-9]{1,18})\r?\n?"
)


class LfsPointer(msgspec.Struct, frozen=True):
    """What a pointer says of the file in whose place it stands."""

    sha256: str
    size_bytes: int


def pointer_in(data: bytes) -> LfsPointer | None:
    """Return the pointer that *data* is, or None: a file of its own."""
    if len(data) >= POINTER_BYTES_MAX:
        return None
    found = _POINTER.fullmatch(data)
    return None if found is None else LfsPointer(found[1].decode(), int(found[2]))
