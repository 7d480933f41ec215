"""The listing of a commit's tree."""

from __future__ import annotations

import pytest

from fastflow_syncer.sources.tree import BadListing, parse_listing


def test_listings_of_a_tree_are_read() -> None:
    """Both forms of ls-tree, with any names; anything else is an error."""
    long = (
        b"100644 blob " + b"a" * 40 + b"      12\ttab\tand\nline\x00160000 commit " + b"b" * 40 + b"       -\tsub\xff\0"
    )
    first, second = parse_listing(long)
    assert (first.path, first.kind, first.size_bytes, first.executable) == ("tab\tand\nline", "file", 12, False)
    assert (second.path, second.kind, second.size_bytes) == ("sub\udcff", "submodule", 0)
    (folder,) = parse_listing(b"040000 tree " + b"c" * 40 + b"\tetl\0")
    assert (folder.kind, folder.oid) == ("folder", "c" * 40)
    assert parse_listing(b"") == []
    for broken in (b"fatal: what\0", b"100644 blob\tx\0", b"x\0"):
        with pytest.raises(BadListing):
            parse_listing(broken)
