"""Whatever decodes, a gateway can show: logs, cells and samples of runs, with odd values in them."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Final

import msgspec
import pytest

from fastflow_api import shapes
from fastflow_contracts.runs import cells, logs
from fastflow_contracts.runs.cells import (
    Began,
    CellChunk,
    CellEvent,
    Cleared,
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
from fastflow_contracts.runs.logs import Chunk, LogReader, OpenText, Piece
from fastflow_contracts.runs.messages import SAMPLE, AttemptSample
from fastflow_gateway.notebooks.cells import CellHistory
from fastflow_gateway.notebooks.executed import executed
from fastflow_gateway.streaming.events import PlainText, log_events
from fastflow_gateway.views import run_shapes
from tests.support.corruption import fresh_dice, odd
from tests.support.notebooks import written
from tests.support.profile import lasting
from tests.support.records import T0

pytestmark = pytest.mark.simulation

TRIES: Final = lasting(1_000, long=10_000)
NOTEBOOKS: Final = (written("1", "2"), written())
EVENTS: Final[tuple[CellEvent, ...]] = (
    Opened(at=1.0, kernel="python", cells=2),
    Injected(at=1.0, after=0, source="p = 1"),
    Began(at=1.0, cell=-1, attempt=1),
    Began(at=1.0, cell=0, attempt=1),
    Wrote(at=1.0, cell=0, stream="stdout", text="x"),
    Part(at=1.0, mime="application/json", text="[1"),
    Showed(at=1.0, cell=0, data={"text/plain": "x", "application/json": "{}"}, is_result=True, display="d"),
    Redrew(at=1.0, display="d", data={"text/plain": "y"}),
    Raised(at=1.0, cell=0, name="E", value="v", traceback=("t",)),
    Noted(at=1.0, cell=0, text="n"),
    Cleared(at=1.0, cell=0),
    EndedCell(at=1.0, cell=0, status="RETRYING", count=1, delay_s=1.0),
)


def test_any_chunk_of_a_log_is_shown() -> None:
    """As events, as text, and line by line."""
    dice = fresh_dice()
    for _ in range(TRIES):
        lines = (Piece(ms=5, stream=1, text="a\nb"), Piece(ms=6, stream=2, text="c"))
        chunk = odd(dice, logs.CHUNK, Chunk(at=1.0, lines=lines, end=(2, 0), open=OpenText(1, 0, "x"), eof=True))
        for event in log_events(chunk, 1, 1).split(b"\n\n"):
            json.loads(event.partition(b"data: ")[2] or b"{}")
        PlainText().text(chunk, 1)
        for line in LogReader().feed(chunk):
            at = datetime.fromtimestamp(line.at, UTC)
            msgspec.json.encode(shapes.LogLine(ts=at, stream=line.stream, attempt=1, line=line.text))


def test_any_events_of_cells_make_a_notebook() -> None:
    """And a list of cells, whatever the notebook has."""
    dice = fresh_dice()
    for _ in range(TRIES):
        history = CellHistory()
        for event in some(dice):
            chunk = CellChunk(end=1, events=(event,))
            history.feed(odd(dice, cells.CHUNK, chunk) if dice.random() < 0.3 else chunk, 1)
        history.close(2.0)
        msgspec.json.encode(history.cells(["1", "2"][: dice.randrange(3)]))
        json.loads(executed(dice.choice(NOTEBOOKS), history, run_id="r"))


def some(dice: random.Random) -> list[CellEvent]:
    """Return some events, mostly in their order."""
    return [event for event in EVENTS if dice.random() < 0.8] + dice.choices(EVENTS, k=dice.randrange(3))


def test_any_sample_is_shown() -> None:
    """As JSON."""
    dice = fresh_dice()
    for _ in range(TRIES):
        sample = AttemptSample(ts=T0, cpu_cores=1.0, memory_bytes=1, memory_limit_bytes=2)
        msgspec.json.encode(run_shapes.sample(odd(dice, SAMPLE, sample), 1))
