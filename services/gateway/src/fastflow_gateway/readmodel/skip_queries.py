"""The queries about skips that the API and the pages share. I/O: messages are read from the bus."""

from __future__ import annotations

import asyncio
from typing import Final

from fastflow_api import shapes
from fastflow_contracts.ids import BadRunId, check_run_id
from fastflow_contracts.runs.messages import SkipRecord
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.readmodel.model import ReadModel
from fastflow_gateway.readmodel.skips import BadSkipCursor, SkipFilter
from fastflow_gateway.views import skipped

READING_MAX: Final = 16
"""Messages to read at once."""


def skip_with_id(model: ReadModel, text: str) -> SkipRecord:
    """Find a skip by id. Raises ``RequestRefused`` if there is none."""
    try:
        skip = model.skips.get(check_run_id(text))
    except BadRunId:
        skip = None
    if skip is None:
        raise RequestRefused(404, f"there is no skip {text[:80]!r}; GET /api/skipped lists them.")
    return skip


async def detail(model: ReadModel, skip: SkipRecord, *, characters_max: int | None = None) -> shapes.SkipDetail:
    """A skip with its message, of whose event at most *characters_max* are shown. Raises ``BusError``."""
    return skipped.detail(skip, await model.letter(skip), characters_max=characters_max)


async def page(model: ReadModel, wanted: SkipFilter, *, limit: int, cursor: str | None) -> shapes.SkipPage:
    """The *limit* newest skips that match, from *cursor* on.

    Raises:
        RequestRefused: The cursor is not valid.
        BusError: The bus did not answer.
    """
    try:
        found, older = model.skips.page(wanted, limit=limit, cursor=cursor)
    except BadSkipCursor as error:
        raise RequestRefused(422, str(error)) from error
    reading = asyncio.Semaphore(READING_MAX)

    async def read(skip: SkipRecord) -> shapes.SkipDetail:
        async with reading:
            return await detail(model, skip, characters_max=skipped.EVENT_CHARACTERS_MAX)

    return shapes.SkipPage(skips=tuple(await asyncio.gather(*map(read, found))), next_cursor=older)
