"""What the process that evaluates expressions is asked, and answers. Data and its framing."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO, Final

import msgspec

HEADER: Final = struct.Struct(">I")


class Question(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An expression, and what it sees."""

    expression: str
    event: bytes | None = None
    event_type: str | None = None
    headers: dict[str, str] = {}
    variables: dict[str, Any] = {}
    """``env``, ``parameters`` and ``pipeline``."""


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Its value, or why it has none."""

    value: bool | int | float | str | None = None
    error: str | None = None


def read_frame(source: BinaryIO) -> bytes | None:
    """Return the next frame; None at the end of *source*."""
    header = source.read(HEADER.size)
    return source.read(HEADER.unpack(header)[0]) if len(header) == HEADER.size else None


def write_frame(target: BinaryIO, frame: bytes) -> None:
    """Write one frame."""
    target.write(HEADER.pack(len(frame)) + frame)
    target.flush()
