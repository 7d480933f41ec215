"""Output on its way to the bus: what is being stored while more comes in, and while sessions break."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import cast

import pytest

from fastflow_contracts import logs, streams, subjects
from fastflow_contracts.run import Limits
from fastflow_contracts.wire import Bus
from fastflow_gateway.follow import stored
from fastflow_runner.cellbook import Cellbook
from fastflow_runner.lines import Assembler
from fastflow_runner.logbook import Logbook
from fastflow_runner.pump import Pump
from fastflow_runner.sandbox import Detached
from fastflow_runner.session import Offsets, Output, Session, Vanished
from tests.support.records import a_run

TEXT = "".join(f"{number:06d} {'x' * 92}\n" for number in range(9_000)).encode()
"""More than three chunks."""


class Broken:
    """A session that repeats a script's output from an offset on and breaks off, or ends, at another."""

    def __init__(self, start: int, end: int, *, over: bool) -> None:
        self._events = deque(
            Output(stream="stdout", offset=at, at=datetime.now(UTC), data=TEXT[at : min(at + 50_000, end)])
            for at in range(start, end, 50_000)
        )
        self._over = over
        self.acked: list[int] = []

    async def __anext__(self) -> Output | Vanished:
        if self._events:
            return self._events.popleft()
        if self._over:
            return Vanished(exit_code=0, oom_killed=False)
        raise Detached("gone")

    async def ack(self, offsets: Offsets) -> None:
        self.acked.append(offsets.stdout)


async def test_what_is_being_stored_when_a_session_breaks_is_neither_lost_nor_doubled(bus: Bus) -> None:
    """Two sessions break with a chunk under way; each next one goes on from what is stored, and the log is whole."""
    ref = a_run("flood").ref
    book = Logbook(bus, ref, 1)
    pump = Pump(bus, ref, 1, Limits(), logbook=book, lines=Assembler(), cellbook=Cellbook(bus, ref, 1))
    for end in (400_000, 700_000):
        session = Broken(pump.acked.stdout, end, over=False)
        with pytest.raises(Detached):
            await pump.drain(cast(Session, session))
        assert 0 < pump.acked.stdout <= end
        assert session.acked[-1] == pump.acked.stdout
    await pump.drain(cast(Session, Broken(pump.acked.stdout, len(TEXT), over=True)))
    await pump.close()
    chunks = [logs.CHUNK.decode(message.data) async for message in stored(bus, streams.LOGS, subjects.logs_of(ref))]
    assert "".join(piece.text for chunk in chunks for piece in chunk.lines).encode() == TEXT
    assert chunks[-1].eof
