"""Which notebooks can run, with notebooks as nbformat writes them."""

from __future__ import annotations

import codecs
import json
from typing import Any

import pytest

from fastflow_contracts.pipelines.folder.discovery import inspect_folder
from fastflow_contracts.pipelines.folder.notebook import (
    CELLS_MAX,
    SOURCE_CHARACTERS_MAX,
    notebook_problems,
    read_notebook,
)
from fastflow_runner.guest.cells.plan import make_plan
from tests.support.notebooks import jupyter, v4, written

OLD: str = jupyter.writes(jupyter.v3.new_notebook(), version=3)


def said(text: bytes) -> list[str]:
    return [str(problem) for problem in notebook_problems(text, file="main.ipynb")]


def test_a_current_notebook_is_read() -> None:
    """Cells in order with their whole text; code cells have indexes of their own."""
    notebook = read_notebook(written(v4.new_markdown_cell("# Title"), v4.new_code_cell("a = 1\nprint(a)")))
    assert [(cell.cell_type, cell.text) for cell in notebook.cells] == [
        ("markdown", "# Title"),
        ("code", "a = 1\nprint(a)"),
    ]
    assert [cell.text for cell in notebook.code_cells] == ["a = 1\nprint(a)"]


@pytest.mark.parametrize(
    ("before", "count"), [(b"", "null"), (codecs.BOM_UTF8, "null"), (b"", "9" * 5_000), (b"", "-" + "9" * 5_000)]
)
def test_what_validate_accepts_can_be_planned(before: bytes, count: str) -> None:
    """An editor's byte order mark, and numbers that Python does not read, are in no part that is used."""
    text = before + written("a = 1").replace(b'"execution_count": null', b'"execution_count": ' + count.encode())
    assert count.encode() in text
    assert said(text) == []
    assert [step.source for step in make_plan(text.decode("utf-8-sig"), [], {}).steps] == ["a = 1"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "It is not JSON"),
        (
            rb'{"nbformat": 4, "cells": [{"cell_type": "code", "source": "\ud83d and more text"}]}',
            "hex escape (byte 65)",
        ),
        (b"{", "It is not JSON"),
        (b"\xff\xfe", "It is not UTF-8 text (line 1)"),
        (b"[]", "no number nbformat"),
        (b'{"cells": []}', "no number nbformat"),
        (b'{"nbformat": 4}', "not a valid notebook of format 4"),
        (b'{"nbformat": 5, "cells": []}', "too new"),
        (OLD.encode(), "format 3, which is too old; open it in Jupyter"),
        (b'{"nbformat": 4, "cells": ' + b"[" * 5_000, "It is not JSON"),
    ],
)
def test_a_file_that_is_not_a_notebook_is_refused(text: bytes, words: str) -> None:
    """With one problem that says what to do."""
    (sentence,) = said(text)
    assert sentence.startswith("main.ipynb: It is")
    assert words in sentence


def test_a_notebook_that_is_too_large_is_refused() -> None:
    """Thousands of cells, or a huge cell."""
    assert said(written(*(v4.new_code_cell("1") for _ in range(CELLS_MAX)))) == []
    assert said(written(*(v4.new_code_cell("1") for _ in range(5_000)))) == [
        "main.ipynb: It has 5,000 cells; at most 1,000 are accepted."
    ]
    (sentence,) = said(written(v4.new_code_cell("x" * (SOURCE_CHARACTERS_MAX + 1))))
    assert "Cell 1 has 262,145 characters" in sentence


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"retries": 2, "delay_seconds": 0.5, "timeout": 3}, None),
        ({"retries": -1}, "retries is -1; accepted: a whole number"),
        ({"retries": "2"}, 'retries is "2"; accepted: a whole number'),
        ({"delay_seconds": -1}, "delay_seconds is -1; accepted: a number of seconds"),
    ],
)
def test_retries_of_cells_are_checked(options: dict[str, Any], sentence: str | None) -> None:
    """A bad value is found before the run, with its place."""
    found = said(written(v4.new_markdown_cell("x"), v4.new_code_cell("1", metadata={"fastflow": options})))
    assert len(found) == (sentence is not None)
    if sentence:
        assert found[0].startswith(f"main.ipynb: cells[1].metadata.fastflow.{sentence}")


def test_a_bad_notebook_is_a_problem_of_its_pipeline() -> None:
    """It names the file. A script beside a broken notebook is not affected."""
    metadata = json.dumps({"type": "notebook"}).encode()
    pipeline = inspect_folder("book", {"main.ipynb": b"{", "pipeline.json": metadata})
    assert pipeline is not None
    assert [problem.file for problem in pipeline.problems] == ["main.ipynb"]
    script = inspect_folder("book", {"main.py": b"", "main.ipynb": b"{"})
    assert script is not None
    assert script.problems == ()
