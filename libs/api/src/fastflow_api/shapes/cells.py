"""The cells of a notebook: their results, and their events while they run."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

from fastflow_api.shapes.base import Shape

CellStatus: TypeAlias = Literal["RUNNING", "RETRYING", "SUCCESS", "FAILED"]


class Output(Shape, frozen=True, kw_only=True):
    """One output of a cell, in each of its media types. Images are base64."""

    data: dict[str, str]
    is_result: bool = False
    """Whether it is the value of the cell's last expression."""


class CellError(Shape, frozen=True, kw_only=True):
    """Why an attempt failed: an exception, ``CellTimeout``, ``KernelDied`` or ``Stopped``."""

    name: str
    value: str
    traceback: tuple[str, ...] = ()
    """Lines, with terminal colour codes."""


class CellAttempt(Shape, frozen=True, kw_only=True):
    """One attempt of a cell."""

    number: int
    started_at: datetime
    finished_at: datetime | None = None
    execution_count: int | None = None
    error: CellError | None = None
    stdout: str = ""
    stderr: str = ""
    outputs: tuple[Output, ...] = ()
    notes: tuple[str, ...] = ()
    """Notes from Fast-Flow, for example that outputs were left out."""


class Cell(Shape, frozen=True, kw_only=True):
    """One code cell."""

    index: int | None
    """Among the code cells, from 0; null for the one that sets the run's parameters."""
    source: str
    status: CellStatus | None = None
    """null: the cell has not started yet."""
    attempts: tuple[CellAttempt, ...] = ()


class CellList(Shape, frozen=True, kw_only=True):
    """The code cells of a run in the order in which they run."""

    kernel: str | None = None
    cells: tuple[Cell, ...] = ()


class CellEvent(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that a kernel or a cell did. Which fields have a value depends on ``event``."""

    event: Literal[
        "opened", "injected", "began", "wrote", "part", "showed", "redrew", "cleared", "raised", "noted", "ended"
    ]
    at: float
    """Unix time, seconds."""
    cell: int | None = None
    """Among the code cells, from 0; -1: the one that sets the run's parameters."""
    attempt: int | None = None
    """For ``began``."""
    stream: Literal["stdout", "stderr"] | None = None
    text: str | None = None
    """For ``wrote``, ``part`` and ``noted``."""
    mime: str | None = None
    """For ``part``: a piece of a large value, for the next event that has ``data``."""
    data: dict[str, str] | None = None
    """For ``showed`` and ``redrew``: text by media type."""
    is_result: bool = False
    display: str | None = None
    name: str | None = None
    """For ``raised``: name of the exception; with ``value`` and ``traceback``."""
    value: str | None = None
    traceback: tuple[str, ...] = ()
    status: CellStatus | None = None
    """For ``ended``."""
    count: int | None = None
    delay_s: float = 0.0
    kernel: str | None = None
    """For ``opened``."""
    cells: int | None = None
    after: int | None = None
    """For ``injected``: the code cell before it; with ``source``."""
    source: str | None = None
