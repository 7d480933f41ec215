"""Runs: the list, one of them, cancelling, waiting for the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import date, datetime

from fastflow_api import shapes
from fastflow_api.connection import decoded, segment
from fastflow_api.errors import Unreachable
from fastflow_api.resources.base import Resource
from fastflow_api.shapes import Accepted, Run, Status, TriggeredBy

PAGE = 500
"""Most runs in one answer."""


class Runs(Resource):
    """Methods about runs."""

    async def runs(
        self,
        *,
        pipeline_name: str | None = None,
        status: Status | str | None = None,
        triggered_by: TriggeredBy | None = None,
        start_date: datetime | date | str | None = None,
        end_date: datetime | date | str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> shapes.RunPage:
        """List one page of runs, newest first.

        Args:
            pipeline_name: Only runs of this pipeline.
            status: Only runs with this status.
            triggered_by: Only runs started this way.
            start_date: Only runs created at this time (UTC) or later.
            end_date: Only runs created up to this time; a date includes the whole day.
            limit: Most runs to return, up to 500.
            cursor: ``next_cursor`` of the previous page.

        Raises:
            BadRequest: A filter is not valid.
        """
        query = {
            "pipeline_name": pipeline_name,
            "status": status,
            "triggered_by": triggered_by,
            "start_date": _moment(start_date),
            "end_date": _moment(end_date),
            "limit": limit,
            "cursor": cursor,
        }
        return await self._connection.json("GET", "/api/runs", shapes.RunPage, query=query)

    async def all_runs(
        self,
        *,
        most: int | None = None,
        pipeline_name: str | None = None,
        status: Status | str | None = None,
        triggered_by: TriggeredBy | None = None,
        start_date: datetime | date | str | None = None,
        end_date: datetime | date | str | None = None,
    ) -> AsyncGenerator[Run]:
        """Yield runs, newest first, over all pages.

        Args:
            most: Most runs to yield; None: all.
            pipeline_name: This and the other filters are as for ``runs``.
            status: See ``runs``.
            triggered_by: See ``runs``.
            start_date: See ``runs``.
            end_date: See ``runs``.

        Raises:
            BadRequest: A filter is not valid.
        """
        cursor, left = None, most
        while left is None or left > 0:
            limit = PAGE if left is None else min(PAGE, left)
            page = await self.runs(
                pipeline_name=pipeline_name,
                status=status,
                triggered_by=triggered_by,
                start_date=start_date,
                end_date=end_date,
                limit=limit,
                cursor=cursor,
            )
            for run in page.runs:
                yield run
            left = None if left is None else left - len(page.runs)
            cursor = page.next_cursor
            if cursor is None:
                return

    async def run(self, run_id: str) -> shapes.RunDetail:
        """Get one run.

        Raises:
            NotFound: There is no such run, or it was deleted.
        """
        return await self._connection.json("GET", f"/api/runs/{segment(run_id)}", shapes.RunDetail)

    async def run_ids(self, prefix: str) -> shapes.RunIds:
        """List the ids of runs that start with *prefix*.

        Args:
            prefix: At least 4 characters.
        """
        return await self._connection.json("GET", "/api/runs/ids", shapes.RunIds, query={"prefix": prefix})

    async def cancel(self, run_id: str) -> Run | Accepted:
        """Cancel a waiting or running run.

        Returns:
            The run, which may still be stopping (``cancel_requested``); or ``Accepted`` if there was no answer within
            5 s: the command is stored and will take effect.

        Raises:
            NotFound: There is no such run.
            Conflict: The run is already over.
        """
        path, kinds = f"/api/runs/{segment(run_id)}/cancel", {200: Run, 202: Accepted}
        answer = await self._connection.one_of("POST", path, kinds)
        assert isinstance(answer, Run | Accepted)
        return answer

    async def follow_run(self, run_id: str) -> AsyncGenerator[Run]:
        """Yield the run now and after each change, until it is over.

        Reconnects when the connection breaks. Changes close together may arrive as one.

        Raises:
            NotFound: There is no such run.
            Unreachable: Nothing has answered for two minutes.
        """
        path = f"/api/runs/{segment(run_id)}/stream"
        async with aclosing(self._connection.follow(path)) as events:
            async for event in events:
                if event.name == "run":
                    yield decoded(event.data, Run)

    async def wait(self, run_id: str, *, timeout_s: float | None = None) -> Run:
        """Wait until the run is over.

        Args:
            run_id: The id of the run.
            timeout_s: Longest wait, in seconds; None: no limit.

        Returns:
            The ended run. A failed run raises nothing: check its ``status``.

        Raises:
            TimeoutError: The run is not over yet.
            NotFound: There is no such run; or it was only ``Accepted`` and no scheduler has created it yet.
        """
        last: Run | None = None
        async with asyncio.timeout(timeout_s), aclosing(self.follow_run(run_id)) as states:
            async for run in states:
                last = run
        if last is None:
            raise Unreachable(f"the server ended the stream of run {run_id} without sending the run; try again.")
        return last


def _moment(given: datetime | date | str | None) -> str | None:
    return given.isoformat() if isinstance(given, date) else given
