"""How much a folder may hold, and the notices before a limit bites. Pure.

A syncer has its own limits, up to ``CEILING``. Everything that reads a bundle assumes only the ceiling: it holds a
bundle in memory, and a sandbox holds it twice, packed and unpacked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

NEAR: Final = 0.8
"""From this part of a limit on there is a notice."""
_NOTICES_MAX: Final = 5
_MB: Final = 1024 * 1024


class FolderLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The most that one folder may hold and name. Sizes are bytes."""

    files: int = 2_000
    file_bytes: int = 20 * _MB
    total_bytes: int = 50 * _MB
    allowed_indexes: tuple[str, ...] = ()
    """Where its packages may come from; empty: from anywhere. See ``origins.strangers``."""


DEFAULT: Final = FolderLimits()
CEILING: Final = FolderLimits(files=20_000, file_bytes=200 * _MB, total_bytes=200 * _MB)
"""The largest limits that a syncer can set."""


def near(sizes_bytes: Mapping[str, int], limits: FolderLimits) -> Iterator[tuple[str, str]]:
    """Yield a path (empty: the folder) and a sentence for what is close to a limit, at most ``_NOTICES_MAX``.

    Args:
        sizes_bytes: Size of each file by relative path.
        limits: The limits of the syncer.
    """
    if len(sizes_bytes) >= NEAR * limits.files:
        yield "", f"The folder has {len(sizes_bytes):,} files; at most {limits.files:,} can travel."
    total_bytes = sum(sizes_bytes.values())
    if total_bytes >= NEAR * limits.total_bytes:
        yield "", f"The folder has {shown_size(total_bytes)}; at most {shown_size(limits.total_bytes)} can travel."
    large = [path for path in sorted(sizes_bytes) if sizes_bytes[path] >= NEAR * limits.file_bytes]
    for path in large[:_NOTICES_MAX]:
        yield path, f"It has {shown_size(sizes_bytes[path])}; a file may have at most {shown_size(limits.file_bytes)}."


def shown_size(size_bytes: int) -> str:
    """Return a size for a message, in MB of 1024 × 1024 bytes."""
    return f"{size_bytes / _MB:,.1f} MB"
