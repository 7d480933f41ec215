"""What a program did, in a form that two ways of running it can be compared by. Pure, but for reading a folder."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

FOLDER: Final = "<folder>"
"""Stands for the path of the program's folder, the only thing that is normalised."""
_CACHES: Final = frozenset({"__pycache__", ".ipynb_checkpoints"})
"""Compiled files hold the time of their source, so they always differ."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Text that is not UTF-8 has replacement characters. ``cells`` are the outputs of a notebook, else empty."""

    stdout: str = ""
    stderr: str = ""
    exit_code: int
    files: Mapping[str, str]
    """Path -> kind, mode and content of everything in the folder after the run."""
    cells: tuple[Any, ...] = ()

    def differs_in(self, other: Outcome) -> set[str]:
        """Return the names of the fields that differ."""
        return {name for name in self.__struct_fields__ if getattr(self, name) != getattr(other, name)}


def readable(text: bytes | str, folder: str) -> str:
    """Return output as text, with the folder's own path normalised."""
    return (text if isinstance(text, str) else text.decode("utf-8", "replace")).replace(folder, FOLDER)


def as_tar(folder: Path) -> bytes:
    """Return a folder as a tar, as ``tar -c`` would."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(folder, ".")
    return archive.getvalue()


def files_of(archive: bytes, folder: str) -> dict[str, str]:
    """Return a description of each entry of a folder. Text in files has the folder's own path normalised, too."""
    found: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            path = member.name.removeprefix("./")
            if path == "." or _CACHES.intersection(path.split("/")):
                continue
            if member.isfile():
                file = tar.extractfile(member)
                assert file is not None
                data = file.read().replace(folder.encode(), FOLDER.encode())
                is_program = "executable " if member.mode & 0o100 else ""
                found[path] = f"{is_program}file {len(data)} {hashlib.sha256(data).hexdigest()}"
            else:
                found[path] = f"link to {member.linkname}" if member.issym() else f"type {member.type!r}"
    return found


def cells_of(notebook: bytes, folder: str) -> tuple[Any, ...]:
    """Return the outputs of each code cell of an executed notebook, with the text of each stream joined."""
    cells = json.loads(readable(notebook, folder))["cells"]
    return tuple(_outputs(cell) for cell in cells if cell["cell_type"] == "code" and not _is_injected(cell))


def _is_injected(cell: Any) -> bool:
    return "papermill-error-cell-tag" in cell["metadata"].get("tags", ())


def _outputs(cell: Any) -> list[Any]:
    found: list[Any] = []
    for output in cell["outputs"]:
        kind = output["output_type"]
        if kind == "stream":
            text = "".join(output["text"])
            if found and found[-1][:2] == [kind, output["name"]]:
                found[-1][2] += text
            else:
                found.append([kind, output["name"], text])
        elif kind == "error":
            found.append([kind, output["ename"], output["evalue"]])
        else:
            found.append([kind, {mime: _text(value) for mime, value in sorted(output["data"].items())}])
    return found


def _text(value: Any) -> Any:
    return "".join(value) if isinstance(value, list) and all(isinstance(line, str) for line in value) else value
