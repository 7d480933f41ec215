"""Writes the log of one attempt to the bus, chunk by chunk. I/O; ``stream_writer`` gives the guarantees."""

from __future__ import annotations

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.decoding import decoded
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.runs.logs import CHUNK, STREAMS, Chunk
from fastflow_runner.output.stream_writer import Fenced, StreamWriter

__all__ = ["Fenced", "LogWriter"]

LAST_LINE_CHARACTERS_MAX = 500


class LogWriter:
    """Writes the log of one attempt."""

    def __init__(self, bus: Bus, ref: RunRef, attempt: int) -> None:
        self._subject = subjects.log(ref, attempt)
        self._stream = StreamWriter(bus, streams.LOGS, self._subject)
        self.last_error_line = ""

    @property
    def sequence(self) -> int:
        """The stream sequence of its last chunk, 0 = none."""
        return self._stream.sequence

    async def resume(self) -> Chunk | None:
        """Find the last published chunk and continue after it. None: there is none that can be read."""
        data = await self._stream.resume()
        return None if data is None else decoded(CHUNK, data, where=self._subject)

    async def append(self, chunk: Chunk) -> None:
        """Store *chunk*; waits for the bus as long as it takes. Raises ``Fenced``."""
        await self._stream.append(CHUNK.encode(chunk))
        self._note(chunk)

    def _note(self, chunk: Chunk) -> None:
        for piece in reversed(chunk.lines):
            if STREAMS[piece.stream] == "stderr" and (text := piece.text.strip()):
                self.last_error_line = text.rpartition("\n")[2].strip()[:LAST_LINE_CHARACTERS_MAX]
                return
