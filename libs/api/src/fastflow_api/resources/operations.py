"""Operations: backfills, and cancels and retries of many runs."""

from __future__ import annotations

import asyncio
from datetime import date, datetime
from typing import Final, Literal

from fastflow_api import shapes
from fastflow_api.connection import segment
from fastflow_api.resources.base import Resource

ASK_S: Final = 120.0
"""Timeout for a backfill: the server looks up each slot."""
LOOK_S: Final = 0.5


class Operations(Resource):
    """Methods about operations."""

    async def backfill(
        self,
        name: str,
        since: datetime | date | str,
        until: datetime | date | str | None = None,
        *,
        schedule: str | None = None,
        only_missing: bool = False,
        dry_run: bool = False,
    ) -> shapes.Backfill:
        """Run the slots of a schedule in a past range, oldest first.

        Args:
            name: The name of the pipeline.
            since: The first slot is then (UTC) or later.
            until: The last slot is then or earlier; a date includes the whole day. None: now.
            schedule: The id of the schedule; None: the only one.
            only_missing: Leave out slots whose run failed, too.
            dry_run: Only count them.

        Returns:
            How many slots there are and how many have a run already, and the operation that runs the others.

        Raises:
            NotFound: There is no such pipeline or schedule.
            BadRequest: The range is not valid, or has too many slots.
        """
        body = shapes.BackfillBody(
            since=_text(since),
            until=None if until is None else _text(until),
            schedule=schedule,
            only_missing=only_missing,
            dry_run=dry_run,
        )
        path = f"/api/pipelines/{segment(name)}/backfill"
        return await self._connection.json("POST", path, shapes.Backfill, body=body, timeout_s=ASK_S)

    async def bulk(
        self,
        action: shapes.BulkAction,
        wanted: shapes.BulkFilter | None = None,
        *,
        expect: int | None = None,
        dry_run: bool = False,
        code: Literal["same", "current"] = "same",
    ) -> shapes.Bulk:
        """Cancel or start again all runs that match, oldest first.

        Args:
            action: ``cancel``, ``retry``, or ``replay``: what came from outside, again with the current code.
            wanted: Which runs; None: all.
            expect: How many runs you expect, as a dry run has counted them.
            dry_run: Only count them.
            code: Of a retry: the code of each run, or its pipeline's current version.

        Raises:
            Conflict: There are not as many as *expect* says; nothing was done.
            BadRequest: A filter is not valid, or *expect* is missing.
        """
        body = shapes.BulkBody(
            action=action, filter=wanted or shapes.BulkFilter(), code=code, dry_run=dry_run, expect=expect
        )
        return await self._connection.json("POST", "/api/runs/bulk", shapes.Bulk, body=body)

    async def operations(self) -> shapes.OperationList:
        """List the operations of the last 30 days, newest first."""
        return await self._connection.json("GET", "/api/operations", shapes.OperationList)

    async def operation(self, operation_id: str) -> shapes.Operation:
        """Get one operation. Raises ``NotFound``."""
        return await self._connection.json("GET", f"/api/operations/{segment(operation_id)}", shapes.Operation)

    async def cancel_operation(self, operation_id: str) -> shapes.Operation:
        """Cancel an operation: it starts nothing more, and the runs that it started are cancelled.

        Raises:
            NotFound: There is no such operation.
            Conflict: It is over.
        """
        path = f"/api/operations/{segment(operation_id)}/cancel"
        return await self._connection.json("POST", path, shapes.Operation)

    async def wait_for_operation(self, operation_id: str, *, timeout_s: float | None = None) -> shapes.Operation:
        """Wait until an operation and all runs that it started are over.

        Raises:
            TimeoutError: It is not over after *timeout_s* seconds.
            NotFound: There is no such operation.
        """
        async with asyncio.timeout(timeout_s):
            while True:
                found = await self.operation(operation_id)
                if found.ended_at is not None:
                    return found
                await asyncio.sleep(LOOK_S)


def _text(given: datetime | date | str) -> str:
    return given.isoformat() if isinstance(given, date) else given
