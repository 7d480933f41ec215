"""Parses git trees from the output of ``git ls-tree -z``. Pure."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from fastflow_syncer.errors import SyncerError

Kind = Literal["file", "folder", "link", "submodule"]

_KINDS: Final[dict[str, Kind]] = {"040000": "folder", "120000": "link", "160000": "submodule"}


class BadListing(SyncerError):
    """The output of git is not a listing."""


class TreeEntry(msgspec.Struct, frozen=True):
    """One entry of a tree. Non-UTF-8 bytes of a path become lone surrogates, which ``bundle.unsafe`` rejects."""

    path: str
    kind: Kind
    executable: bool
    oid: str
    size_bytes: int
    """0 for entries other than files, and in listings without ``-l``."""


def parse_listing(printed: bytes) -> list[TreeEntry]:
    """Parse ``ls-tree -z`` output, with or without ``-l`` and ``-r``.

    Raises:
        BadListing: The output is not a listing.
    """
    return [_entry(line) for line in printed.split(b"\0") if line]


def _entry(line: bytes) -> TreeEntry:
    about, tab, path = line.partition(b"\t")
    words = about.decode("ascii", "replace").split()
    if not tab or len(words) not in (3, 4) or not words[0].isdigit():
        raise BadListing("git ls-tree printed a line that cannot be read.")
    mode, _, oid, *size = words
    return TreeEntry(
        path=path.decode("utf-8", "surrogateescape"),
        kind=_KINDS.get(mode, "file"),
        executable=mode == "100755",
        oid=oid,
        size_bytes=int(size[0]) if size and size[0].isdigit() else 0,
    )
