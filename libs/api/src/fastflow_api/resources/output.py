"""Logs, samples, cells and the result of a run: complete, or live."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from fastflow_api import shapes
from fastflow_api.connection import decoded, segment
from fastflow_api.log_lines import LineJoiner
from fastflow_api.resources.base import Resource
from fastflow_api.shapes import CellEvent, LogLine, PartialLine, Sample

_LINE = msgspec.json.Decoder(LogLine)
_PARTIAL = msgspec.json.Decoder(PartialLine)


class Outputs(Resource):
    """Methods about logs, samples, cells and results. Each raises ``NotFound`` if there is no such run.

    The ``follow_`` methods resume after the last event when the connection breaks, so no event is lost or repeated.
    They end with the run, and raise ``Unreachable`` when nothing has answered for two minutes.
    """

    async def log(self, run_id: str, *, tail: int = 0) -> str:
        """Get the log of all attempts so far, as text.

        Args:
            run_id: The id of the run.
            tail: Only this many lines from the end, up to 10,000; 0: all.
        """
        path = f"/api/runs/{segment(run_id)}/logs"
        return (await self._connection.raw("GET", path, query={"tail": tail or None})).decode()

    async def log_lines(self, run_id: str) -> AsyncGenerator[LogLine]:
        """Yield the lines of the log so far, with their streams, attempts and times."""
        rest = b""
        async with aclosing(self._connection.pieces(f"/api/runs/{segment(run_id)}/logs/lines")) as pieces:
            async for piece in pieces:
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    yield _LINE.decode(line)

    async def follow_log(self, run_id: str) -> AsyncGenerator[LogLine]:
        """Yield every line of the log once, in order, as it is written. Long lines are complete."""
        joiner = LineJoiner()
        async with aclosing(self.follow_text(run_id)) as parts:
            async for part in parts:
                if isinstance(part, LogLine) and (line := joiner.feed(part)) is not None:
                    yield line
        for line in joiner.close():
            yield line

    async def follow_text(self, run_id: str) -> AsyncGenerator[LogLine | PartialLine]:
        """Yield the log as it is written, also lines that are not complete.

        Text of an open line comes within a second, as PartialLine; later the whole line comes as LogLine. A long line
        comes in several parts (``LogLine.more``). ``TextJoiner`` returns what is new in each.
        """
        async with aclosing(self._connection.follow(f"/api/runs/{segment(run_id)}/logs/stream")) as events:
            async for event in events:
                if event.name == "log":
                    yield _LINE.decode(event.data)
                elif event.name == "partial":
                    yield _PARTIAL.decode(event.data)

    async def samples(self, run_id: str) -> tuple[Sample, ...]:
        """Get the newest 5,000 samples of CPU and memory use over all attempts, oldest first."""
        found = await self._connection.json("GET", f"/api/runs/{segment(run_id)}/metrics", shapes.SampleList)
        return found.samples

    async def follow_samples(self, run_id: str) -> AsyncGenerator[Sample]:
        """Yield each sample as it arrives."""
        async with aclosing(self._connection.follow(f"/api/runs/{segment(run_id)}/metrics/stream")) as events:
            async for event in events:
                if event.name == "sample":
                    yield decoded(event.data, Sample)

    async def cells(self, run_id: str) -> shapes.CellList:
        """Get the code cells of a notebook's run, with their attempts, outputs and errors.

        Raises:
            NotFound: The run is not that of a notebook.
        """
        return await self._connection.json("GET", f"/api/runs/{segment(run_id)}/cells", shapes.CellList)

    async def follow_cells(self, run_id: str) -> AsyncGenerator[CellEvent]:
        """Yield everything that the cells of a notebook's run do, as it happens.

        Raises:
            NotFound: The run is not that of a notebook.
        """
        async with aclosing(self._connection.follow(f"/api/runs/{segment(run_id)}/cells/stream")) as events:
            async for event in events:
                if event.name == "cell":
                    yield decoded(event.data, CellEvent)

    async def event(self, run_id: str) -> shapes.RunEvent:
        """Get the event that a run was started with, and its headers.

        Raises:
            NotFound: The run was started without an event.
        """
        return await self._connection.json("GET", f"/api/runs/{segment(run_id)}/event", shapes.RunEvent)

    async def result(self, run_id: str) -> Any:
        """Get the result of a run: the JSON value that its script wrote to the file ``FASTFLOW_RESULT_FILE``.

        Raises:
            NotFound: The run has no result, or is not over.
        """
        return json.loads(await self._connection.raw("GET", f"/api/runs/{segment(run_id)}/result"))

    async def artifacts(self, run_id: str) -> shapes.Artifacts:
        """List the files that a run left in the folder ``FASTFLOW_ARTIFACTS_DIR``.

        Raises:
            NotFound: The run is not over.
        """
        return await self._connection.json("GET", f"/api/runs/{segment(run_id)}/artifacts", shapes.Artifacts)

    async def artifact(self, run_id: str, path: str) -> AsyncGenerator[bytes]:
        """Yield the content of one of these files in pieces.

        Args:
            run_id: The id of the run.
            path: As in ``artifacts``.

        Raises:
            NotFound: The run left no such file.
            Unreachable: The content is not complete.
        """
        there = "/".join(map(segment, path.split("/")))
        async with aclosing(self._connection.pieces(f"/api/runs/{segment(run_id)}/artifacts/{there}")) as pieces:
            async for piece in pieces:
                yield piece

    async def notebook(self, run_id: str) -> bytes:
        """Get the executed notebook as a file (``.ipynb``), as far as it has run.

        Raises:
            NotFound: The run is not that of a notebook.
        """
        return await self._connection.raw("GET", f"/api/runs/{segment(run_id)}/notebook")
