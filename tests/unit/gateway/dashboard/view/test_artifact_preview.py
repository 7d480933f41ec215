"""What is shown of a file, for files as programs really write them."""

from __future__ import annotations

import pytest

from fastflow_contracts.runs.artifacts.manifest import StoredArtifact
from fastflow_gateway.dashboard.view.artifacts import HEAD_BYTES, Preview, embedded_type, kind_of, preview
from fastflow_gateway.dashboard.view.json_tree import NODES_MAX, JsonBranch


def artifact(path: str, size: int) -> StoredArtifact:
    return StoredArtifact(path=path, size_bytes=size, sha256="0" * 64)


def shown(path: str, data: bytes, *, size: int | None = None) -> Preview:
    return preview(artifact(path, len(data) if size is None else size), data[:HEAD_BYTES])


@pytest.mark.parametrize(
    ("path", "data", "rows"),
    [
        ("a.csv", b'"age";"job"\n30;"a,b"\n', (("age", "job"), ("30", "a,b"))),
        ("a.csv", b"a\tb\n1\t2\n", (("a", "b"), ("1", "2"))),
        ("a.tsv", b"a\tb\n1,5\t2;3\n", (("a", "b"), ("1,5", "2;3"))),
        ("A.CSV", b"\xef\xbb\xbfday,rows\r\n1,2\r\n", (("day", "rows"), ("1", "2"))),
        ("a.csv", "day,ä\n1,2\n".encode("utf-16"), (("day", "ä"), ("1", "2"))),
        ("a.csv", b"only\n1\n2\n", (("only",), ("1",), ("2",))),
        ("a.csv", b"a,b\n1,2,3,4\n5\n", (("a", "b"), ("1", "2", "3", "4"), ("5",))),
        ("a.csv", b'a,b\n"two\nlines",2\n', (("a", "b"), ("two\nlines", "2"))),
        ("a.csv", "a,b\nx\u2028y,2\n".encode(), (("a", "b"), ("x\u2028y", "2"))),
        ("a.csv", b"a,b\r1,2\r", (("a", "b"), ("1", "2"))),
        ("a.csv", b"=cmd|'/c calc'!A0,\xff\n", (("=cmd|'/c calc'!A0", "\ufffd"),)),
    ],
)
def test_a_table_has_the_cells_of_the_file(path: str, data: bytes, rows: tuple[tuple[str, ...], ...]) -> None:
    assert shown(path, data) == Preview(kind="table", rows=rows)


@pytest.mark.parametrize("end", [b"5,1234", b'5,"two\nlines, cut', b"5,6\n7,8"])
def test_a_row_that_is_cut_is_not_shown(end: bytes) -> None:
    """A number that lost its last digits looks like another number."""
    found = shown("a.csv", b"a,b\n1,2\n" + end, size=HEAD_BYTES * 4)
    assert (found.rows[:2], found.is_cut) == ((("a", "b"), ("1", "2")), True)
    assert found.rows[2:] == ((("5", "6"),) if end.startswith(b"5,6") else ())


@pytest.mark.parametrize("text", ["{'a': 1}", "", "[" * 100_000, '{"a": 1} {"b": 2}', '{"a": 1'])
def test_json_that_is_none_is_text(text: str) -> None:
    found = shown("a.json", text.encode())
    assert found.kind == "text"
    assert "".join(found.lines) == text[:2000]


def test_numbers_of_json_stay_as_they_were_written() -> None:
    found = shown("a.json", b"[12345678901234567890.10, NaN]")
    assert found.tree == JsonBranch(
        "", "[ 2 items ]", (JsonBranch("", "12345678901234567890.10"), JsonBranch("", "NaN"))
    )


def test_json_is_a_tree_of_its_members() -> None:
    """Names and texts are as in JSON, without what a terminal or a reader would be fooled by."""
    found = shown("a.json", '{"a": {"b": [1, "x"]}, "c": {}, "‮": ""}'.encode())
    listed = JsonBranch('"b"', "[ 2 items ]", (JsonBranch("", "1"), JsonBranch("", '"x"')))
    assert found.tree == JsonBranch(
        "",
        "{ 3 members }",
        (
            JsonBranch('"a"', "{ 1 member }", (listed,)),
            JsonBranch('"c"', "{}"),
            JsonBranch('"\\u202e"', '""'),
        ),
    )


def nodes(node: JsonBranch) -> int:
    return 1 + sum(map(nodes, node.inside))


@pytest.mark.parametrize(
    ("text", "is_cut"),
    [
        (f"[{','.join('1' * 5_000)}]", True),
        (f"[{','.join(['[1, 2, 3]'] * 2_000)}]", True),
        ("[" * 300 + "]" * 300, False),
        (f'["{"x" * 100_000}"]', True),
    ],
    ids=["wide", "square", "deep", "long"],
)
def test_a_large_tree_is_cut_and_a_deep_one_ends_in_a_line(text: str, is_cut: bool) -> None:
    found = shown("a.json", text.encode())
    assert (found.kind, found.is_cut) == ("json", is_cut)
    assert found.tree is not None
    assert nodes(found.tree) <= NODES_MAX


@pytest.mark.parametrize("path", ["a.png", "a.jpg", "a.webp", "a.gif"])
def test_a_picture_that_is_none_is_not_sent(path: str) -> None:
    assert kind_of(artifact(path, 30)) == "picture"
    assert embedded_type(artifact(path, 30), b"<svg onload=alert(1)>") is None


@pytest.mark.parametrize("path", ["a", "a.json.gz", "a.exe", "csv", "x.csv/model", "a.js", "a.xhtml", "a.svgz"])
def test_what_has_no_known_ending_is_a_download(path: str) -> None:
    assert kind_of(artifact(path, 1)) == ""
