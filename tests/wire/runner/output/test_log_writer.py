"""The log of an attempt on a real bus that drops old messages: one writer at a time, with any rest of the log."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.runs import logs
from fastflow_contracts.runs.logs import Chunk, Piece
from fastflow_runner.output.log_writer import LogWriter
from fastflow_runner.output.stream_writer import Fenced
from tests.support.records import a_run

RUN = a_run("book")


def chunk(text: str, end: int) -> Chunk:
    return Chunk(at=1.0, lines=(Piece(0, 1, text),), end=(end, 0))


async def evict(bus: Bus) -> None:
    """Remove the oldest messages, as age or a full stream does."""
    await bus.js.purge_stream(streams.LOGS, subject=subjects.log(RUN.ref, 1))


async def stored(bus: Bus) -> list[str]:
    """Return what is on the bus."""
    found: list[str] = []
    async with aclosing(feed(bus, streams.LOGS, subjects.log(RUN.ref, 1), after=0)) as batches:
        async for batch in batches:
            for message in batch.messages:
                found += [piece.text for piece in logs.CHUNK.decode(message.data).lines]
            if batch.caught_up:
                return found
    raise AssertionError("a feed has no end")


async def test_a_log_continues_after_all_of_it_was_dropped(bus: Bus) -> None:
    """A runner that was quiet for so long still holds the run."""
    writer = LogWriter(bus, RUN.ref, 1)
    await writer.append(chunk("first\n", 6))
    before = writer.sequence
    await evict(bus)
    await writer.append(chunk("second\n", 13))
    await writer.append(chunk("third\n", 19))
    assert await stored(bus) == ["second\n", "third\n"]
    assert writer.sequence > before


async def test_a_former_writer_is_fenced_although_its_messages_are_gone(bus: Bus) -> None:
    """The later writer has written, so the earlier one must not."""
    former, later = LogWriter(bus, RUN.ref, 1), LogWriter(bus, RUN.ref, 1)
    await former.append(chunk("first\n", 6))
    await evict(bus)
    assert await later.resume() is None
    await later.append(chunk("of the later one\n", 6))
    with pytest.raises(Fenced):
        await former.append(chunk("of the former one\n", 12))
    assert await stored(bus) == ["of the later one\n"]


async def test_a_last_chunk_that_cannot_be_read_is_passed_over(bus: Bus) -> None:
    """The attempt continues behind it, and what it prints from now on is stored."""
    await LogWriter(bus, RUN.ref, 1).append(chunk("first\n", 6))
    await bus.publish(subjects.log(RUN.ref, 1), b"\xff garbage")
    writer = LogWriter(bus, RUN.ref, 1)
    assert await writer.resume() is None
    await writer.append(chunk("second\n", 13))
    last = await bus.js.get_last_msg(streams.LOGS, subjects.log(RUN.ref, 1))
    assert logs.CHUNK.decode(last.data or b"").lines[0].text == "second\n"
