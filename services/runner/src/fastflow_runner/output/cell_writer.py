"""Writes the cell events of one attempt to the bus, in chunks. I/O; ``stream_writer`` gives the guarantees.

Events are numbered, so a re-attached runner continues after the last stored one.
"""

from __future__ import annotations

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.decoding import decoded
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.codec import Malformed
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs import cells
from fastflow_runner.output.quota import Refuse, never
from fastflow_runner.output.stream_writer import StreamWriter
from fastflow_runner.sandbox.events import CellRunnerEvent

log = get_logger(__name__)

SMALL_BYTES = 4096
"""An event up to this size is always kept: it says that a cell began or ended."""


class CellWriter:
    """Writes the cell events of one attempt; writes nothing if there are none. Large ones count for ``refuse``."""

    def __init__(self, bus: Bus, ref: RunRef, attempt: int, *, refuse: Refuse = never) -> None:
        self._subject = subjects.cell(ref, attempt)
        self._stream = StreamWriter(bus, streams.CELLS, self._subject)
        self._refuse = refuse
        self._end = 0
        self._pending: list[cells.CellEvent] = []
        self._pending_bytes = 0
        self._taken = 0
        self.has_no_result = False
        """Whether the cell that ended last failed because its value cannot be the result of the run."""

    @property
    def sequence(self) -> int:
        """The stream sequence of its last chunk, 0 = none."""
        return self._stream.sequence

    @property
    def end(self) -> int:
        """How many events are stored: they may be acknowledged."""
        return self._end

    @property
    def pending(self) -> bool:
        """Whether ``flush`` would store something."""
        return self._taken > self._end

    async def resume(self) -> None:
        """Continue after the last stored event; from the start if that cannot be read."""
        data = await self._stream.resume()
        last = None if data is None else decoded(cells.CHUNK, data, where=self._subject)
        self._end = self._taken = last.end if last else 0
        for event in last.events if last else ():
            self._note(event)

    async def take(self, event: CellRunnerEvent) -> bool:
        """Add *event*, unless it is a repetition.

        Returns:
            Whether earlier events were stored to make room, so that they may be acknowledged.

        Raises:
            Fenced: another runner writes here.
        """
        if event.number < self._taken:  # a session broke before it was stored
            return False
        if len(event.data) > SMALL_BYTES and self._refuse(len(event.data)):  # the log says so: it has the same output
            self._taken = event.number + 1
            return False
        full = self._pending_bytes + len(event.data) > cells.EVENTS_BYTES_MAX
        if full:
            await self.flush()
        try:
            self._pending.append(cells.EVENT.decode(event.data))
            self._note(self._pending[-1])
            self._pending_bytes += len(event.data)
        except Malformed as error:  # only the cell runner writes there
            log.warning("cell event dropped", number=event.number, error=str(error))
        self._taken = event.number + 1
        return full

    async def flush(self) -> None:
        """Store what is pending. Raises ``Fenced``."""
        if not self.pending:
            return
        await self._stream.append(cells.CHUNK.encode(cells.CellChunk(end=self._taken, events=tuple(self._pending))))
        self._end = self._taken
        self._pending.clear()
        self._pending_bytes = 0

    def _note(self, event: cells.CellEvent) -> None:
        if isinstance(event, cells.EndedCell):
            self.has_no_result = event.is_no_result
