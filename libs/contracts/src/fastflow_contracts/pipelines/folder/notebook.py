"""The parts of a Jupyter notebook that Fast-Flow uses, and the problems that prevent its run. Pure.

This module has the document's shape and its problems; ``notebook_rules`` defines what a notebook is. The cell runner
executes notebooks, the gateway shows them.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Annotated, Any, Final

import msgspec
from msgspec.structs import replace

from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.pipelines.folder.notebook_rules import CELLS_MAX, FORMAT, is_code, is_python, text_of
from fastflow_contracts.pipelines.format.diagnostics import Diagnostics, Problem
from fastflow_contracts.pipelines.format.json_positions import BadJson, parse
from fastflow_contracts.pipelines.format.struct_reader import read_struct
from fastflow_contracts.pipelines.format.value_types import Retries, Seconds, says

SOURCE_CHARACTERS_MAX: Final = 256 * 1024
"""Longest source of one cell."""
PROBLEMS_MAX: Final = 20
VALUE_CHARACTERS_MAX: Final = 100


class BadNotebook(FastFlowError):
    """The text is not a notebook that can run; the message says why and what to do."""


class CellOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``metadata.fastflow`` of a code cell: each field overrides the cell's entry in ``cells``."""

    retries: Annotated[Retries | None, says("Attempts after the first.")] = None
    delay_seconds: Annotated[Seconds | None, says("Seconds before each retry.")] = None
    timeout: Annotated[Seconds | None, says("Seconds one attempt of the cell may take; 0: no own limit.")] = None


class CellMetadata(msgspec.Struct, frozen=True):
    """The parts of a cell's metadata that are used."""

    tags: tuple[Any, ...] = ()
    fastflow: msgspec.Raw = msgspec.Raw(b"{}")
    """JSON of ``CellOptions``."""


class NotebookCell(msgspec.Struct, frozen=True):
    """One cell, without its saved outputs."""

    cell_type: str
    source: str | list[str] = ""
    metadata: CellMetadata = CellMetadata()
    attachments: dict[str, dict[str, Any]] = {}
    """Images of a markdown cell: base64 by media type, by name."""

    @property
    def is_code(self) -> bool:
        return is_code(self.cell_type)

    @property
    def text(self) -> str:
        """The source as one text."""
        return text_of(self.source)


class Kernelspec(msgspec.Struct, frozen=True):
    """The kernel that the notebook names."""

    name: str = ""
    display_name: str = ""
    language: str = ""


class LanguageInfo(msgspec.Struct, frozen=True):
    """The language that the kernel reported."""

    name: str = ""


class Metadata(msgspec.Struct, frozen=True):
    """The parts of a notebook's metadata that are used."""

    kernelspec: Kernelspec = Kernelspec()
    language_info: LanguageInfo = LanguageInfo()

    @property
    def is_python(self) -> bool:
        """Whether the notebook is written in Python, for any kernel name."""
        spec = self.kernelspec
        return is_python(spec.name, spec.display_name, spec.language or self.language_info.name)


class Notebook(msgspec.Struct, frozen=True):
    """A notebook of format 4."""

    nbformat: int
    cells: tuple[NotebookCell, ...]
    metadata: Metadata = Metadata()

    @property
    def code_cells(self) -> tuple[NotebookCell, ...]:
        """Code cells in order; the index is that of ``cells`` in the pipeline's metadata."""
        return tuple(cell for cell in self.cells if cell.is_code)


class _Format(msgspec.Struct):
    nbformat: int


def read_notebook(text: bytes) -> Notebook:
    """Parse a notebook.

    Raises:
        BadNotebook: It is not a notebook of the accepted format.
    """
    text = text.removeprefix(codecs.BOM_UTF8)
    try:
        text.decode()  # msgspec skips what it does not need, valid or not
        version = msgspec.json.decode(text, type=_Format).nbformat
    except msgspec.ValidationError:
        raise BadNotebook("it is JSON but not a notebook: it has no number nbformat.") from None
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise BadNotebook(f"it is not UTF-8 text (line {line}); open it in Jupyter and save it again.") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadNotebook(f"it is not JSON, so it is not a notebook: {error}.") from None
    if version < FORMAT:
        raise BadNotebook(
            f"it is of format {version}, which is too old; open it in Jupyter and save it, or run "
            f"`jupyter nbconvert --to notebook --nbformat {FORMAT} --inplace main.ipynb`."
        )
    if version > FORMAT:
        raise BadNotebook(f"it is of format {version}, which is too new; format {FORMAT} is accepted.")
    try:
        notebook = msgspec.json.decode(text, type=Notebook)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadNotebook(f"it is not a valid notebook of format {FORMAT}: {error}.") from None
    if len(notebook.cells) > CELLS_MAX:
        raise BadNotebook(f"it has {len(notebook.cells):,} cells; at most {CELLS_MAX:,} are accepted.")
    return notebook


def notebook_problems(text: bytes, *, file: str) -> tuple[Problem, ...]:
    """Return the problems that prevent the run of the notebook in *text*; *file* is its name in them."""
    try:
        notebook = read_notebook(text)
    except BadNotebook as error:
        sentence = str(error)
        return (Problem(accepted=sentence[0].upper() + sentence[1:], file=file),)
    found = []
    for problem in _problems(notebook, file):
        found.append(problem)
        if len(found) == PROBLEMS_MAX:
            break
    return tuple(found)


def _problems(notebook: Notebook, file: str) -> Iterator[Problem]:
    if not notebook.metadata.is_python:
        name = msgspec.json.encode(notebook.metadata.kernelspec.name[:VALUE_CHARACTERS_MAX]).decode()
        kernel = "a Python kernel, since pipelines are Python; choose one in Jupyter and save the notebook."
        yield Problem(field="metadata.kernelspec.name", value=name, accepted=kernel, file=file)
    for index, cell in enumerate(notebook.cells):
        if len(cell.text) > SOURCE_CHARACTERS_MAX:
            size = f"{len(cell.text):,} characters; at most {SOURCE_CHARACTERS_MAX:,} are accepted."
            yield Problem(accepted=f"Cell {index + 1} has {size}", file=file)
        place = f"cells[{index}].metadata.fastflow"
        diagnostics = Diagnostics(file)
        try:
            read_struct(CellOptions, parse(bytes(cell.metadata.fastflow).decode()), diagnostics)
        except BadJson as error:
            yield Problem(field=place, accepted=f"an object that can be read: {error}", file=file)
        for problem in diagnostics.problems:
            yield replace(problem, field=f"{place}.{problem.field}".rstrip("."), line=None)
