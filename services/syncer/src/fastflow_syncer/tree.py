"""Git trees as ``git ls-tree -z`` prints them. Pure."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from fastflow_syncer.errors import SyncerError

Kind = Literal["file", "folder", "link", "submodule"]

_KINDS: Final[dict[str, Kind]] = {"040000": "folder", "120000": "link", "160000": "submodule"}


class BadListing(SyncerError):
    """Git printed something that is no listing."""


class TreeEntry(msgspec.Struct, frozen=True):
    """One entry. Bytes of a path that are not UTF-8 are lone surrogates, which ``bundle.unsafe`` refuses."""

    path: str
    kind: Kind
    executable: bool
    oid: str
    size_bytes: int
    """0 for what is no file, and in listings without ``-l``."""


def parse_listing(printed: bytes) -> list[TreeEntry]:
    """Entries of ``ls-tree -z`` output, with or without ``-l`` and ``-r``. Raises ``BadListing``."""
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
