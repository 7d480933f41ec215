"""Turns the cell events of a run into cells with attempts. Pure.

Here they become data (``CellList``), in ``executed`` a notebook.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any, Literal, assert_never

from fastflow_api.shapes import Cell, CellAttempt, CellError, CellList, Output
from fastflow_contracts.runs.cells import (
    INJECTED,
    Began,
    CellChunk,
    CellEvent,
    CellStatus,
    Cleared,
    Data,
    EndedCell,
    Injected,
    Noted,
    Opened,
    Part,
    Raised,
    Redrew,
    Showed,
    Wrote,
)

__all__ = ["Cell", "CellAttempt", "CellError", "CellHistory", "CellList", "Output", "Tried"]

CUT_SHORT = "The run ended while this cell ran."


class Tried:
    """One attempt of a cell while its events arrive. ``outputs`` have the form of a notebook file."""

    def __init__(self, number: int, at: float) -> None:
        self.number = number
        self.started_at = at
        self.finished_at: float | None = None
        self.count: int | None = None
        self.status: CellStatus = "RUNNING"
        self.outputs: list[dict[str, Any]] = []
        self.notes: list[str] = []

    def write(self, stream: str, text: str) -> None:
        last = self.outputs[-1] if self.outputs else {}
        if last.get("name") == stream:
            last["text"] += text
        else:
            self.outputs.append({"output_type": "stream", "name": stream, "text": text})

    def view(self) -> CellAttempt:
        errors = [output for output in self.outputs if output["output_type"] == "error"]
        return CellAttempt(
            number=self.number,
            started_at=_moment(self.started_at),
            finished_at=None if self.finished_at is None else _moment(self.finished_at),
            execution_count=self.count,
            error=_error(errors[-1]) if errors else None,
            stdout=self._text("stdout"),
            stderr=self._text("stderr"),
            outputs=tuple(
                Output(data=output["data"], is_result=output["output_type"] == "execute_result")
                for output in self.outputs
                if "data" in output
            ),
            notes=tuple(self.notes),
        )

    def _text(self, stream: str) -> str:
        return "".join(output["text"] for output in self.outputs if output.get("name") == stream)


class CellHistory:
    """The cells of a run. Feed it every chunk in order, then read ``cells``."""

    def __init__(self) -> None:
        self._reset(0)

    def _reset(self, attempt: int) -> None:
        """Forget the attempt before: a later attempt of the run runs every cell again."""
        self._attempt = attempt
        self.kernel: str | None = None
        self.injected: Injected | None = None
        self.tried: dict[int, list[Tried]] = {}
        self._parts: dict[str, list[str]] = defaultdict(list)
        self._displays: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def feed(self, chunk: CellChunk, attempt: int) -> None:
        """Apply a chunk of the run's *attempt*."""
        if attempt != self._attempt:
            self._reset(attempt)
        for event in chunk.events:
            self._take(event)

    def close(self, at: float) -> None:
        """The run ended at *at* (seconds since 1970): end the cells that still run."""
        for attempts in self.tried.values():
            if attempts and attempts[-1].status in ("RUNNING", "RETRYING"):
                if attempts[-1].status == "RUNNING":
                    attempts[-1].notes.append(CUT_SHORT)
                attempts[-1].finished_at = attempts[-1].finished_at or at
                attempts[-1].status = "FAILED"

    def cells(self, sources: list[str]) -> CellList:
        """The code cells with their attempts. *sources*: the text of each."""
        listed = [self._cell(index, source) for index, source in enumerate(sources)]
        if self.injected is not None:
            listed.insert(self.injected.after + 1, self._cell(INJECTED, self.injected.source))
        return CellList(kernel=self.kernel, cells=tuple(listed))

    def _cell(self, index: int, source: str) -> Cell:
        attempts = self.tried.get(index, [])
        return Cell(
            index=None if index == INJECTED else index,
            source=source,
            status=attempts[-1].status if attempts else None,
            attempts=tuple(attempt.view() for attempt in attempts),
        )

    def _take(self, event: CellEvent) -> None:
        match event:
            case Opened():
                self.kernel = event.kernel
            case Injected():
                self.injected = event
            case Part():
                self._parts[event.mime].append(event.text)
            case Began():
                self.tried.setdefault(event.cell, []).append(Tried(event.attempt, event.at))
            case Redrew():
                data = self._whole(event.data)
                for output in self._displays[event.display]:
                    output["data"] = data
            case Wrote() | Showed() | Cleared() | Raised() | Noted() | EndedCell():
                if attempts := self.tried.get(event.cell):
                    self._note(event, attempts[-1])
            case _:
                assert_never(event)

    def _note(self, event: Wrote | Showed | Cleared | Raised | Noted | EndedCell, tried: Tried) -> None:
        match event:
            case Wrote():
                tried.write(event.stream, event.text)
            case Showed():
                kind: Literal["execute_result", "display_data"] = (
                    "execute_result" if event.is_result else "display_data"
                )
                output = {"output_type": kind, "data": self._whole(event.data), "metadata": {}}
                tried.outputs.append(output)
                if event.display is not None:
                    self._displays[event.display].append(output)
            case Cleared():
                tried.outputs.clear()
            case Raised():
                tried.outputs.append(
                    {
                        "output_type": "error",
                        "ename": event.name,
                        "evalue": event.value,
                        "traceback": list(event.traceback),
                    }
                )
            case Noted():
                tried.notes.append(event.text)
            case EndedCell():
                tried.finished_at, tried.status, tried.count = event.at, event.status, event.count
            case _:
                assert_never(event)

    def _whole(self, data: Data) -> Data:
        parts, self._parts = self._parts, defaultdict(list)
        return {**data, **{mime: "".join(texts) for mime, texts in parts.items()}}


def _error(output: dict[str, Any]) -> CellError:
    return CellError(name=output["ename"], value=output["evalue"], traceback=tuple(output["traceback"]))


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
