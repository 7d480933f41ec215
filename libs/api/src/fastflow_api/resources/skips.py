"""Skips: starts that were refused, and their redrive."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from fastflow_api import shapes
from fastflow_api.connection import segment
from fastflow_api.resources.base import Resource
from fastflow_api.shapes import Accepted, Run, SkipDetail, TriggeredBy

PAGE: Final = 200
"""Most skips in one answer."""
REDRIVE_S: Final = 180.0
"""Timeout for the redrive of many: the server waits for the decision on each."""


class RefusedStarts(Resource):
    """Methods about refused starts."""

    async def skips(
        self,
        *,
        pipeline: str | None = None,
        reason: str | None = None,
        triggered_by: TriggeredBy | None = None,
        is_open: bool | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> shapes.SkipPage:
        """List one page of refused starts, newest first.

        Args:
            pipeline: Only starts of this pipeline.
            reason: Only those with this text in their reason.
            triggered_by: Only starts of this kind.
            is_open: True: only those that are not redriven; False: only those that are.
            limit: Most skips to return, up to 200.
            cursor: ``next_cursor`` of the previous page.

        Raises:
            BadRequest: A filter is not valid.
        """
        query = {
            "pipeline": pipeline,
            "reason": reason,
            "triggered_by": triggered_by,
            "open": None if is_open is None else str(is_open).lower(),
            "limit": limit,
            "cursor": cursor,
        }
        return await self._connection.json("GET", "/api/skipped", shapes.SkipPage, query=query)

    async def all_skips(
        self,
        *,
        most: int | None = None,
        pipeline: str | None = None,
        reason: str | None = None,
        triggered_by: TriggeredBy | None = None,
        is_open: bool | None = None,
    ) -> AsyncGenerator[SkipDetail]:
        """Yield refused starts, newest first, over all pages.

        Args:
            most: Most skips to yield; None: all.
            pipeline: This and the other filters are as for ``skips``.
            reason: See ``skips``.
            triggered_by: See ``skips``.
            is_open: See ``skips``.

        Raises:
            BadRequest: A filter is not valid.
        """
        cursor, left = None, most
        while left is None or left > 0:
            page = await self.skips(
                pipeline=pipeline,
                reason=reason,
                triggered_by=triggered_by,
                is_open=is_open,
                limit=PAGE if left is None else min(PAGE, left),
                cursor=cursor,
            )
            for skip in page.skips:
                yield skip
            left = None if left is None else left - len(page.skips)
            cursor = page.next_cursor
            if cursor is None:
                return

    async def skip(self, skip_id: str) -> SkipDetail:
        """Get one refused start, with its whole event.

        Raises:
            NotFound: There is no such skip.
        """
        return await self._connection.json("GET", f"/api/skipped/{segment(skip_id)}", SkipDetail)

    async def redrive(self, skip_id: str, *, again: bool = False, key: str | None = None) -> Run | Accepted:
        """Start the message of a refused start.

        Args:
            skip_id: The id of the skip.
            again: Start one more run, although the skip is redriven already; else that run is returned.
            key: Idempotency key of *again*.

        Returns:
            The run, or ``Accepted`` as for ``start``.

        Raises:
            ApiError: It is refused again, with the errors of ``start``; the skip stays.
        """
        path, kinds = f"/api/skipped/{segment(skip_id)}/redrive", {200: Run, 202: Accepted}
        query = {"again": "true" if again else None}
        headers = {"Idempotency-Key": key} if key else {}
        answer = await self._connection.one_of("POST", path, kinds, query=query, headers=headers)
        assert isinstance(answer, Run | Accepted)
        return answer

    async def redrive_all(
        self,
        *,
        pipeline: str | None = None,
        reason: str | None = None,
        triggered_by: TriggeredBy | None = None,
        dry_run: bool = False,
        cursor: str | None = None,
        expect: int | None = None,
    ) -> shapes.Redriven:
        """Start the messages of open skips that match, the oldest first. One call takes at most 500.

        Args:
            pipeline: As for ``skips``.
            reason: As for ``skips``.
            triggered_by: As for ``skips``.
            dry_run: Only count them.
            cursor: ``next_cursor`` of the previous call: continue with newer skips.
            expect: How many match, as a dry run has counted them. Required without *dry_run* and *cursor*.

        Returns:
            How many started and how many were refused again, which stay.

        Raises:
            BadRequest: *expect* is missing.
            Conflict: There are not as many as *expect* says; nothing was started.
        """
        body = shapes.RedriveBody(
            pipeline=pipeline, reason=reason, triggered_by=triggered_by, dry_run=dry_run, cursor=cursor, expect=expect
        )
        return await self._connection.json(
            "POST", "/api/skipped/redrive", shapes.Redriven, body=body, timeout_s=REDRIVE_S
        )
