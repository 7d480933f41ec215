"""What counts as a pointer of Git LFS."""

from __future__ import annotations

import pytest

from fastflow_contracts.pipelines.folder.lfs import LfsPointer, pointer_in

OID = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 12345\n"


@pytest.mark.parametrize(
    "text",
    [
        POINTER,
        POINTER.rstrip(),
        POINTER.replace("\n", "\r\n"),
        POINTER.replace("git-lfs.github.com", "hawser.github.com"),
        POINTER.replace("oid", f"ext-0-foo sha256:{OID}\noid"),
    ],
)
def test_a_pointer_names_its_file(text: str) -> None:
    """Also as older clients and Windows wrote it, and with extensions."""
    assert pointer_in(text.encode()) == LfsPointer(OID, 12345)


@pytest.mark.parametrize(
    "text",
    [
        "",
        POINTER + "more",
        " " + POINTER,
        POINTER.replace("sha256", "md5"),
        POINTER.replace("12345", "-1"),
        POINTER[:80],
    ],
)
def test_anything_else_is_an_ordinary_file(text: str) -> None:
    """Such as a text about pointers, or a pointer that was cut."""
    assert pointer_in(text.encode()) is None
