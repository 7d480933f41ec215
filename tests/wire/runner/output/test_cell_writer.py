"""Cell events on a real bus: each once, in order, by one writer."""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime

import pytest

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.runs import cells
from fastflow_runner.output.cell_writer import CellWriter
from fastflow_runner.output.stream_writer import Fenced
from fastflow_runner.sandbox.events import CellRunnerEvent
from tests.support.records import a_run

RUN = a_run("book", kind="notebook")


def event(number: int, text: str | None = None) -> CellRunnerEvent:
    said = cells.Wrote(at=1.0, cell=0, stream="stdout", text=str(number) if text is None else text)
    return CellRunnerEvent(number=number, at=datetime.now(UTC), data=cells.EVENT.encode(said))


async def stored(bus: Bus) -> list[str]:
    """Return what is on the bus."""
    found: list[str] = []
    async with aclosing(feed(bus, streams.CELLS, subjects.cell(RUN.ref, 1), after=0)) as batches:
        async for batch in batches:
            for message in batch.messages:
                found += [e.text for e in cells.CHUNK.decode(message.data).events if isinstance(e, cells.Wrote)]
            if batch.caught_up:
                return found
    raise AssertionError("a feed has no end")


async def test_only_stored_events_may_be_acknowledged(bus: Bus) -> None:
    """They are stored in chunks."""
    writer = CellWriter(bus, RUN.ref, 1)
    await writer.flush()
    assert (writer.sequence, writer.end, writer.pending) == (0, 0, False)
    for number in range(3):
        assert not await writer.take(event(number))
    assert (writer.end, writer.pending) == (0, True)
    await writer.flush()
    assert (writer.end, writer.pending, await stored(bus)) == (3, False, ["0", "1", "2"])


async def test_events_repeated_after_a_broken_session_are_stored_once(bus: Bus) -> None:
    """Events that were received and not stored come again with the next session."""
    writer = CellWriter(bus, RUN.ref, 1)
    for number in (0, 1, 0, 1, 2):
        await writer.take(event(number))
    await writer.flush()
    assert (writer.end, await stored(bus)) == (3, ["0", "1", "2"])


async def test_another_holder_continues_and_the_former_one_is_fenced(bus: Bus) -> None:
    """By the number of the last stored event; there are never two writers at once."""
    former, later = CellWriter(bus, RUN.ref, 1), CellWriter(bus, RUN.ref, 1)
    await former.take(event(0))
    await former.flush()
    await later.resume()
    assert later.end == 1
    await later.take(event(1))
    await later.flush()
    await former.take(event(1, "of the former one"))
    with pytest.raises(Fenced):
        await former.flush()
    assert await stored(bus) == ["0", "1"]


async def test_large_events_start_a_new_chunk(bus: Bus) -> None:
    """A chunk never grows beyond its bound."""
    writer = CellWriter(bus, RUN.ref, 1)
    assert not await writer.take(event(0, "x" * 500_000))
    assert await writer.take(event(1, "y" * 500_000))
    assert (writer.end, writer.pending) == (1, True)


async def test_a_line_that_is_not_an_event_is_skipped(bus: Bus) -> None:
    """It is counted, so that the rest is not lost."""
    writer = CellWriter(bus, RUN.ref, 1)
    await writer.take(event(0))
    await writer.take(CellRunnerEvent(number=1, at=datetime.now(UTC), data=b'{"event": "conjured"}'))
    await writer.take(event(2))
    await writer.flush()
    assert (writer.end, await stored(bus)) == (3, ["0", "2"])
