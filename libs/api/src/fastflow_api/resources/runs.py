"""Runs that exist: the list, one of them, its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import date, datetime
from typing import Any

from fastflow_api import shapes
from fastflow_api.connection import decoded, segment
from fastflow_api.errors import Unreachable
from fastflow_api.resources.base import Resource
from fastflow_api.shapes import Accepted, Run, Status, TriggeredBy

PAGE = 500
"""The most runs that one answer holds."""


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
        """One page of runs, newest first.

        Args:
            pipeline_name: Only runs of this pipeline.
            status: Only runs in this state.
            triggered_by: Only runs started like this.
            start_date: Only runs created at this moment (UTC) or later.
            end_date: Only runs created up to this moment; a date means its last one.
            limit: How many at most, up to 500.
            cursor: ``next_cursor`` of the page before.

        Raises:
            BadRequest: A filter cannot be used.
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

    async def all_runs(self, *, most: int | None = None, **filters: Any) -> AsyncGenerator[Run]:
        """Runs over as many pages as there are, newest first.

        Args:
            most: How many at most; None: all.
            filters: As in ``runs``.
        """
        cursor, left = None, most
        while left is None or left > 0:
            limit = PAGE if left is None else min(PAGE, left)
            page = await self.runs(limit=limit, cursor=cursor, **filters)
            for run in page.runs:
                yield run
            left = None if left is None else left - len(page.runs)
            cursor = page.next_cursor
            if cursor is None:
                return

    async def run(self, run_id: str) -> shapes.RunDetail:
        """One run.

        Raises:
            NotFound: There is no such run (any more).
        """
        return await self._connection.json("GET", f"/api/runs/{segment(run_id)}", shapes.RunDetail)

    async def run_ids(self, prefix: str) -> shapes.RunIds:
        """Ids of the runs that begin like this.

        Args:
            prefix: At least 4 characters.
        """
        return await self._connection.json("GET", "/api/runs/ids", shapes.RunIds, query={"prefix": prefix})

    async def cancel(self, run_id: str) -> Run | Accepted:
        """End a run that waits or runs.

        Returns:
            The run, which may still be stopping (``cancel_requested``); or ``Accepted``, if nobody has acted on it
            within 5 s: the command is stored and takes effect.

        Raises:
            NotFound: There is no such run.
            Conflict: It is over already.
        """
        path, kinds = f"/api/runs/{segment(run_id)}/cancel", {200: Run, 202: Accepted}
        answer = await self._connection.one_of("POST", path, kinds)
        assert isinstance(answer, Run | Accepted)
        return answer

    async def follow_run(self, run_id: str) -> AsyncGenerator[Run]:
        """The run as it is now, and its newest state after each change, until it is over.

        Goes on by itself when the connection breaks. Changes close together may come as one.

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
            run_id: The run's.
            timeout_s: How long at most, in seconds; None: as long as it takes.

        Returns:
            The run as it ended. A failed run is no exception: see its ``status``.

        Raises:
            TimeoutError: It is not over yet.
            NotFound: There is no such run; or it was only ``Accepted``, and no scheduler has taken it yet.
        """
        last: Run | None = None
        async with asyncio.timeout(timeout_s), aclosing(self.follow_run(run_id)) as states:
            async for run in states:
                last = run
        if last is None:
            raise Unreachable(f"the server ended the stream of run {run_id} without a word; ask again.")
        return last


def _moment(given: datetime | date | str | None) -> str | None:
    return given.isoformat() if isinstance(given, date) else given
