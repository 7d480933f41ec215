"""What the dashboard shows of an artifact: the kind follows its name and its first bytes. Pure."""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from typing import Final, Literal, TypeAlias

import msgspec

from fastflow_contracts.runs.artifacts.manifest import StoredArtifact
from fastflow_gateway.dashboard.view import words
from fastflow_gateway.dashboard.view.json_tree import JsonBranch, tree

Kind: TypeAlias = Literal["json", "table", "text", "picture", "frame", ""]

HEAD_BYTES: Final = 256 * 1024
"""Of a file whose beginning is shown."""
WHOLE_BYTES_MAX: Final = 8 * 1024 * 1024
"""Larger pictures and pages are only downloads."""
ROWS_MAX: Final = 200
COLUMNS_MAX: Final = 30
LINES_MAX: Final = 1_000
LINE_CHARACTERS_MAX: Final = 2_000
_PICTURES: Final = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif"} | {
    ".webp": "image/webp"
}
_FRAMES: Final = {".html": "text/html", ".htm": "text/html", ".svg": "image/svg+xml"}
_TABLES: Final = {".csv": ",;\t", ".tsv": "\t"}
"""What may be between two cells."""
_TEXTS: Final = frozenset({".txt", ".log", ".md", ".jsonl", ".ndjson", ".yaml", ".yml", ".toml", ".xml", ".py", ".sql"})


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """The beginning of a file. ``lines``, ``rows`` and the texts of ``tree`` are plain text."""

    kind: Kind
    lines: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    tree: JsonBranch | None = None
    is_cut: bool = False
    """Not all of it is shown."""


def kind_of(artifact: StoredArtifact) -> Kind:
    """Return how a file with this name and size is shown; empty: it is only a download."""
    ending = _ending(artifact.path)
    if ending in _PICTURES or ending in _FRAMES:
        if artifact.size_bytes > WHOLE_BYTES_MAX:
            return ""
        return "picture" if ending in _PICTURES else "frame"
    if ending in _TABLES:
        return "table"
    return "json" if ending == ".json" else "text" if ending in _TEXTS else ""


def embedded_type(artifact: StoredArtifact, data: bytes) -> str | None:
    """Return the media type under which a picture or a page is sent; None: its content is something else."""
    ending = _ending(artifact.path)
    if ending in _FRAMES:
        return f"{_FRAMES[ending]}; charset=utf-8"
    wanted = _PICTURES.get(ending)
    return wanted if wanted is not None and wanted == _picture_type(data) else None


def preview(artifact: StoredArtifact, head: bytes) -> Preview:
    """Return what is shown of a file, from its first ``HEAD_BYTES``."""
    kind, is_cut = kind_of(artifact), artifact.size_bytes > len(head)
    if kind in ("picture", "frame", ""):
        return Preview(kind=kind)
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    text = head.decode(encoding, "replace")
    if "\0" in text:
        return Preview(kind="")
    if kind == "table":
        rows, more = _rows(text, _delimiter(artifact.path, text), is_cut)
        if rows:
            return Preview(kind="table", rows=rows, is_cut=is_cut or more)
    if kind == "json" and not is_cut:
        with suppress(ValueError, RecursionError):
            found, is_cut = tree(text)
            return Preview(kind="json", tree=found, is_cut=is_cut)
    lines = text.splitlines()
    shown = tuple(words.plain(line[:LINE_CHARACTERS_MAX]) for line in lines[:LINES_MAX])
    return Preview(kind="text", lines=shown, is_cut=is_cut or len(lines) > LINES_MAX)


def _delimiter(path: str, text: str) -> str:
    """The one that is most often in the first line: programs in much of Europe write semicolons into CSV."""
    first = text.partition("\n")[0]
    return max(_TABLES[_ending(path)], key=first.count)


def _rows(text: str, delimiter: str, is_cut: bool) -> tuple[tuple[tuple[str, ...], ...], bool]:
    """The first rows, and whether there are more. The last row of a cut text is not whole."""
    rows: list[tuple[str, ...]] = []
    more = False
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            if len(rows) == ROWS_MAX:
                return tuple(rows), True
            more = more or len(row) > COLUMNS_MAX
            rows.append(tuple(words.plain(each[:LINE_CHARACTERS_MAX]) for each in row[:COLUMNS_MAX]))
    except csv.Error:
        return (), False
    return tuple(rows[:-1] if is_cut else rows), more


def _ending(path: str) -> str:
    name = path.rsplit("/", 1)[-1]
    return f".{name.rsplit('.', 1)[1].lower()}" if "." in name else ""


def _picture_type(data: bytes) -> str | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None
