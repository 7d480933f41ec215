"""From cell events to the list of cells and the executed notebook."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from fastflow_contracts.runs import cells as wire
from fastflow_contracts.runs.cells import INJECTED, CellChunk, CellEvent
from fastflow_gateway.notebooks.cells import CUT_SHORT, CellHistory
from fastflow_gateway.notebooks.executed import executed
from tests.support.notebooks import code, jupyter, markdown, v4, written

SOURCES = ["n = 1", "n + 1"]


def told(*events: CellEvent, attempt: int = 1) -> CellHistory:
    book = CellHistory()
    book.feed(CellChunk(end=len(events), events=events), attempt)
    return book


def began(cell: int, attempt: int = 1) -> wire.Began:
    return wire.Began(at=float(attempt), cell=cell, attempt=attempt)


def ended(cell: int, status: Any = "SUCCESS", count: int | None = 1) -> wire.EndedCell:
    return wire.EndedCell(at=9.0, cell=cell, status=status, count=count)


def wrote(cell: int, text: str, stream: Any = "stdout") -> wire.Wrote:
    return wire.Wrote(at=1.0, cell=cell, stream=stream, text=text)


FAILS = wire.Raised(at=2.0, cell=0, name="ValueError", value="boom", traceback=("T", "ValueError: boom"))


def test_every_attempt_of_a_cell_is_kept() -> None:
    """Its text, error and times; the status is that of the last attempt."""
    book = told(began(0), wrote(0, "a"), wrote(0, "b\n"), FAILS, ended(0, "RETRYING"), began(0, 2), ended(0, count=2))
    first, second = book.cells(SOURCES).cells
    assert (first.index, first.source, first.status) == (0, "n = 1", "SUCCESS")
    assert [(a.number, a.stdout, a.error and a.error.value) for a in first.attempts] == [
        (1, "ab\n", "boom"),
        (2, "", None),
    ]
    assert first.attempts[1].started_at == datetime.fromtimestamp(2, UTC)
    assert (second.status, second.attempts) == (None, ())


def test_parts_of_a_value_are_joined() -> None:
    """They belong to the next output event, each to its media type."""
    shown = wire.Showed(at=1.0, cell=0, data={"text/plain": "x"}, is_result=True)
    parts = [
        wire.Part(at=1.0, mime=mime, text=text)
        for mime, text in [("text/html", "<b>"), ("a/b", "1"), ("text/html", "c")]
    ]
    (first, _) = told(began(0), *parts, shown, shown).cells(SOURCES).cells
    assert [output.data for output in first.attempts[0].outputs] == [
        {"text/plain": "x", "text/html": "<b>c", "a/b": "1"},
        {"text/plain": "x"},
    ]


def test_outputs_can_be_updated_and_cleared() -> None:
    """A display handle changes its output in place; clearing removes all outputs."""
    shown = wire.Showed(at=1.0, cell=0, data={"text/plain": "10 %"}, display="d")
    redrawn = wire.Redrew(at=1.0, display="d", data={"text/plain": "20 %"})
    (first, _) = told(began(0), shown, ended(0), began(1), redrawn).cells(SOURCES).cells
    assert first.attempts[0].outputs[0].data == {"text/plain": "20 %"}
    (first, _) = told(began(0), wrote(0, "x"), shown, wire.Cleared(at=1.0, cell=0), wrote(0, "y")).cells(SOURCES).cells
    assert (first.attempts[0].outputs, first.attempts[0].stdout) == ((), "y")


def test_a_cell_that_was_interrupted_has_failed() -> None:
    """No cell of a run that is over still runs."""
    book = told(began(0), wrote(0, "x"))
    assert book.cells(SOURCES).cells[0].status == "RUNNING"
    book.close(5.0)
    first = book.cells(SOURCES).cells[0]
    assert (first.status, first.attempts[0].notes) == ("FAILED", (CUT_SHORT,))


def test_the_injected_cell_follows_the_tagged_one() -> None:
    """It has no index: those of the notebook stay."""
    book = told(wire.Injected(at=1.0, after=0, source="n = 5"), began(INJECTED), ended(INJECTED))
    assert [(cell.index, cell.source) for cell in book.cells(SOURCES).cells] == [
        (0, "n = 1"),
        (None, "n = 5"),
        (1, "n + 1"),
    ]


def test_a_later_attempt_of_the_run_starts_empty() -> None:
    """Outputs of a lost attempt are not mixed with those of the next one."""
    book = told(began(0), wrote(0, "old"))
    book.feed(CellChunk(end=1, events=(began(0),)), 2)
    assert book.cells(SOURCES).cells[0].attempts[0].stdout == ""


def test_the_executed_notebook_is_valid() -> None:
    """By Jupyter's own schema, with the new outputs and without the saved ones."""
    stale = code("n + 1")
    stale.outputs = [v4.new_output("stream", text="stale")]
    old = code("n = 3", "injected-parameters")
    text = written(markdown("# T"), code("n = 1", "parameters"), old, stale, "never")
    events: list[CellEvent] = [
        wire.Injected(at=1.0, after=0, source="n = 5"),
        *(began(0), ended(0)),
        *(began(INJECTED), ended(INJECTED, count=2)),
        *(began(1), wrote(1, "a\n"), wrote(1, "b\n", "stderr")),
        wire.Showed(at=1.0, cell=1, data={"application/json": '{"a": 1}'}),
        wire.Showed(at=1.0, cell=1, data={"text/plain": "6"}, is_result=True),
        wire.Raised(at=1.0, cell=1, name="E", value="v", traceback=("t",)),
        wire.Noted(at=1.0, cell=1, text="Left out."),
        ended(1, "FAILED", count=3),
    ]
    made = executed(text, told(*events), run_id="r")
    notebook = jupyter.reads(made.decode(), as_version=4)
    jupyter.validate(notebook)
    assert [cell.source for cell in notebook.cells] == ["# T", "n = 1", "n = 5", "n + 1", "never"]
    assert [cell.get("execution_count") for cell in notebook.cells] == [None, 1, 2, 3, None]
    outputs = notebook.cells[3].outputs
    assert [output.output_type for output in outputs] == [
        "stream",
        "stream",
        "display_data",
        "execute_result",
        "error",
        "stream",
    ]
    assert outputs[2].data["application/json"] == {"a": 1}
    assert notebook.cells[4].outputs == []
    assert json.loads(made)["metadata"]["fastflow"] == {"run_id": "r"}
