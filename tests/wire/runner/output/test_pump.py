"""Output on its way to the bus, while sessions break."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.runs import logs
from fastflow_contracts.runs.run import RunLimits, RunRecord
from fastflow_runner.output.cell_writer import CellWriter
from fastflow_runner.output.lines import Assembler
from fastflow_runner.output.log_writer import LogWriter
from fastflow_runner.output.pump import Pump
from fastflow_runner.sandbox import Detached, SandboxSpec
from fastflow_runner.sandbox.events import Exited, Offsets, ScriptOutput, Vanished
from fastflow_runner.sandbox.process import ProcessSandboxes
from fastflow_runner.sandbox.session import Session
from tests.sandbox_contract import Place
from tests.support.records import a_run
from tests.support.system import stored

TEXT = "".join(f"{number:06d} {'x' * 92}\n" for number in range(9_000)).encode()
"""More than three chunks."""


class Broken:
    """A session that repeats a script's output from an offset on and breaks, or ends, at another."""

    def __init__(self, start: int, end: int, *, over: bool) -> None:
        self._events = deque(
            ScriptOutput(stream="stdout", offset=at, at=datetime.now(UTC), data=TEXT[at : min(at + 50_000, end)])
            for at in range(start, end, 50_000)
        )
        self._over = over
        self.acked: list[int] = []

    async def __anext__(self) -> ScriptOutput | Vanished:
        if self._events:
            return self._events.popleft()
        if self._over:
            return Vanished(exit_code=0, oom_killed=False)
        raise Detached("gone")

    async def ack(self, offsets: Offsets) -> None:
        self.acked.append(offsets.stdout)


async def test_a_chunk_in_progress_when_a_session_breaks_is_stored_once(bus: Bus) -> None:
    """Two sessions break during a chunk; each next one continues from what is stored, and the log is complete."""
    ref = a_run("flood").ref
    writer = LogWriter(bus, ref, 1)
    pump = Pump(bus, ref, 1, RunLimits(), log_writer=writer, lines=Assembler(), cell_writer=CellWriter(bus, ref, 1))
    for end in (400_000, 700_000):
        session = Broken(pump.acked.stdout, end, over=False)
        with pytest.raises(Detached):
            await pump.drain(cast(Session, session))
        assert 0 < pump.acked.stdout <= end
        assert session.acked[-1] == pump.acked.stdout
    await pump.drain(cast(Session, Broken(pump.acked.stdout, len(TEXT), over=True)))
    await pump.close()
    chunks = [logs.CHUNK.decode(message.data) for message in await stored(bus, streams.LOGS, subjects.logs_of(ref))]
    assert "".join(piece.text for chunk in chunks for piece in chunk.lines).encode() == TEXT
    assert chunks[-1].eof


async def test_a_run_continues_after_its_log_was_dropped(bus: Bus, tmp_path: Path) -> None:
    """Another runner finds a quiet script after the bus has dropped all its output: log and cells continue from
    there, and the log says what is missing.
    """
    run = a_run("quiet")
    go = tmp_path / "go"
    source = f"""
        import os, pathlib, time
        tell = lambda text: os.write(int(os.environ["FASTFLOW_CELL_EVENTS_FD"]), text + b"\\n")
        print("before", flush=True)
        tell(b'{{"event": "wrote", "at": 1.0, "cell": 0, "stream": "stdout", "text": "before"}}')
        while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)
        print("after")
        tell(b'{{"event": "wrote", "at": 1.0, "cell": 0, "stream": "stdout", "text": "after"}}')
    """
    sandboxes = ProcessSandboxes(tmp_path / "sandboxes")
    place = Place(sandboxes, SandboxSpec(name=""))
    session, channel = await place.start(source, cell_events=True)
    pump, _ = await found(bus, run)
    draining = asyncio.create_task(pump.drain(session))
    async with asyncio.timeout(20):
        while pump.acked != Offsets(stdout=7, events=1):
            await asyncio.sleep(0.01)
    draining.cancel()
    await asyncio.wait({draining})
    await session.ack(pump.acked)
    for stream in (streams.LOGS, streams.CELLS):
        await bus.js.purge_stream(stream)

    pump, cell_writer = await found(bus, run)
    assert pump.acked == Offsets()
    session, channel = await place.again(channel, pump.acked)
    go.touch()
    async with asyncio.timeout(20):
        assert isinstance(await pump.drain(session), Exited)
    await pump.close()
    assert await log_of(bus, run) == "[fastflow] 7 bytes of stdout are missing here\nafter\n"
    assert cell_writer.end == 2
    await channel.close()
    await place.clear()
    await sandboxes.close()


async def found(bus: Bus, run: RunRecord) -> tuple[Pump, CellWriter]:
    """Return the attempt of a runner that continues *run*, from what the bus holds."""
    log_writer, cell_writer = LogWriter(bus, run.ref, 1), CellWriter(bus, run.ref, 1)
    await cell_writer.resume()
    lines = Assembler(resume=await log_writer.resume())
    return Pump(bus, run.ref, 1, RunLimits(), log_writer=log_writer, lines=lines, cell_writer=cell_writer), cell_writer


async def log_of(bus: Bus, run: RunRecord) -> str:
    chunks = [logs.CHUNK.decode(m.data) for m in await stored(bus, streams.LOGS, subjects.logs_of(run.ref))]
    return "".join(piece.text for chunk in chunks for piece in chunk.lines)
