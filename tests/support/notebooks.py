"""Notebooks as Jupyter would save them, and the events of their runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import Any, TypeVar

import nbformat

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.pipelines.folder.bundle import File, pack
from fastflow_contracts.runs import cells
from fastflow_contracts.runs.run import RunRecord
from tests.support.records import publish_pipeline

E = TypeVar("E", bound=cells.CellFact)

jupyter: Any = nbformat
"""Its functions have no types."""
v4: Any = nbformat.v4


def code(source: str, *tags: str, **fastflow: Any) -> Any:
    """A code cell. *fastflow*: its own metadata for Fast-Flow."""
    metadata: dict[str, Any] = {"tags": list(tags)} if tags else {}
    return v4.new_code_cell(source, metadata=metadata | ({"fastflow": fastflow} if fastflow else {}))


def markdown(source: str) -> Any:
    return v4.new_markdown_cell(source)


def written(*each: Any, metadata: dict[str, Any] | None = None) -> bytes:
    """Return the file. A text stands for a code cell."""
    made = [code(cell) if isinstance(cell, str) else cell for cell in each]
    text: str = jupyter.writes(v4.new_notebook(cells=made, metadata=metadata or {}))
    return text.encode()


async def publish_notebook(
    bus: Bus, name: str, *each: Any, files: dict[str, str] | None = None, raw: bytes | None = None, **spec: Any
) -> None:
    """Put a notebook pipeline on the bus. *raw*: a file instead of cells."""
    given = {"main.ipynb": written(*each) if raw is None else raw}
    given |= {path: text.encode() for path, text in (files or {}).items()}
    bundle = pack({path: File(data) for path, data in given.items()})
    await publish_pipeline(bus, name, bundle, type="notebook", **spec)


async def events_of(bus: Bus, run: RunRecord) -> list[cells.CellEvent]:
    """Return all cell events of an ended run."""
    last = max((attempt.cell_sequence for attempt in run.attempts), default=0)
    found: list[cells.CellEvent] = []
    if not last:
        return found
    async with aclosing(feed(bus, streams.CELLS, subjects.cells_of(run.ref), after=0)) as chunks:
        async for batch in chunks:
            for message in batch.messages:
                chunk = cells.CHUNK.decode(message.data)
                found += chunk.events
                assert chunk.end == len(found), "no event is lost or doubled"
                if message.sequence >= last:
                    return found
    raise AssertionError("a feed has no end")


async def await_event(bus: Bus, ref: RunRef, wanted: Callable[[cells.CellEvent], bool]) -> cells.CellEvent:
    """Return the first event that is *wanted*, as soon as it is on the bus."""
    async with aclosing(feed(bus, streams.CELLS, subjects.cells_of(ref), after=0)) as chunks:
        async for batch in chunks:
            for message in batch.messages:
                for event in cells.CHUNK.decode(message.data).events:
                    if wanted(event):
                        return event
    raise AssertionError("a feed has no end")


def only(kind: type[E], events: list[cells.CellEvent]) -> list[E]:
    """Return the events of one kind."""
    return [event for event in events if isinstance(event, kind)]


def statuses(events: list[cells.CellEvent]) -> list[tuple[int, str]]:
    """Return how each attempt of each cell ended, in order."""
    return [(event.cell, event.status) for event in only(cells.EndedCell, events)]


def text_of(events: list[cells.CellEvent], stream: str = "stdout") -> str:
    """Return the text that cells wrote, joined."""
    return "".join(event.text for event in only(cells.Wrote, events) if event.stream == stream)
