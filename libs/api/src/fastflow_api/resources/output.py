"""What a run wrote, used and showed: whole, or as it comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from fastflow_api import shapes
from fastflow_api.connection import decoded, segment
from fastflow_api.log_lines import LineJoiner
from fastflow_api.resources.base import Resource
from fastflow_api.shapes import CellEvent, LogLine, Sample

_LINE = msgspec.json.Decoder(LogLine)


class Outputs(Resource):
    """Methods about logs, samples and cells. Each raises ``NotFound`` if there is no such run.

    Those that follow go on behind the last event that arrived when the connection breaks, so nothing is missed and
    nothing comes twice; they end with the run, and raise ``Unreachable`` once nothing has answered for two minutes.
    """

    async def log(self, run_id: str, *, tail: int = 0) -> str:
        """The log of all attempts so far, as text.

        Args:
            run_id: The run's.
            tail: Only the last so many lines, up to 10,000; 0 = all.
        """
        path = f"/api/runs/{segment(run_id)}/logs"
        return (await self._connection.raw("GET", path, query={"tail": tail or None})).decode()

    async def log_lines(self, run_id: str) -> AsyncGenerator[LogLine]:
        """The lines of the log as it is now, with their streams, attempts and times."""
        rest = b""
        async with aclosing(self._connection.pieces(f"/api/runs/{segment(run_id)}/logs/lines")) as pieces:
            async for piece in pieces:
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    yield _LINE.decode(line)

    async def follow_log(self, run_id: str) -> AsyncGenerator[LogLine]:
        """Every line of the log once, in order, as it is written. A long line comes whole."""
        joiner = LineJoiner()
        async with aclosing(self._connection.follow(f"/api/runs/{segment(run_id)}/logs/stream")) as events:
            async for event in events:
                if event.name == "log" and (line := joiner.feed(_LINE.decode(event.data))) is not None:
                    yield line
        for line in joiner.close():
            yield line

    async def samples(self, run_id: str) -> tuple[Sample, ...]:
        """What it used: the newest 5,000 samples of all attempts, oldest first."""
        found = await self._connection.json("GET", f"/api/runs/{segment(run_id)}/metrics", shapes.SampleList)
        return found.samples

    async def follow_samples(self, run_id: str) -> AsyncGenerator[Sample]:
        """Each sample as it comes."""
        async with aclosing(self._connection.follow(f"/api/runs/{segment(run_id)}/metrics/stream")) as events:
            async for event in events:
                if event.name == "sample":
                    yield decoded(event.data, Sample)

    async def cells(self, run_id: str) -> shapes.CellList:
        """The code cells of a notebook's run, with their attempts, outputs and errors.

        Raises:
            NotFound: It is no notebook's.
        """
        return await self._connection.json("GET", f"/api/runs/{segment(run_id)}/cells", shapes.CellList)

    async def follow_cells(self, run_id: str) -> AsyncGenerator[CellEvent]:
        """Everything that the cells of a notebook's run do, as it happens.

        Raises:
            NotFound: It is no notebook's.
        """
        async with aclosing(self._connection.follow(f"/api/runs/{segment(run_id)}/cells/stream")) as events:
            async for event in events:
                if event.name == "cell":
                    yield decoded(event.data, CellEvent)

    async def notebook(self, run_id: str) -> bytes:
        """The executed notebook as a file (``.ipynb``), as far as it has run.

        Raises:
            NotFound: It is no notebook's.
        """
        return await self._connection.raw("GET", f"/api/runs/{segment(run_id)}/notebook")
