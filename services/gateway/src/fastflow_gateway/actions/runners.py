"""Drain a runner. A refusal is ``RequestRefused``. I/O."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web
from msgspec.structs import replace

from fastflow_api import shapes
from fastflow_contracts.bus import subjects
from fastflow_contracts.runs.presence import PRESENCE_S
from fastflow_gateway import app_keys
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.model import MODEL, ReadModel

DRAIN_S: Final = 4 * PRESENCE_S
"""Seconds within which a runner must announce that it is leaving."""
_LOOK_S: Final = 0.05
"""Seconds between two checks of its presence; polled, because a heartbeat does not wake a handler."""


async def drain(app: web.Application, wanted: str) -> shapes.Runner:
    """Drain a runner: it takes no new work, finishes its runs and exits.

    Args:
        app: The gateway.
        wanted: The id of the runner.

    Returns:
        The runner once it is leaving. An idle one may already be gone by then.

    Raises:
        RequestRefused: There is no such runner (404), or it does not answer (504).
        BusError: The bus did not answer.
    """
    model = app[MODEL]
    last = _runners(model).get(wanted)
    if last is None:
        raise RequestRefused(
            404, f"there is no runner {wanted[:200]}; there are: {', '.join(sorted(_runners(model))) or 'none'}."
        )
    await app[app_keys.BUS].tell(subjects.drain(wanted), b"")
    try:
        async with asyncio.timeout(DRAIN_S):
            while not last.leaving:
                await asyncio.sleep(_LOOK_S)
                last = _runners(model).get(wanted) or replace(last, leaving=True, busy=0)
    except TimeoutError:
        raise RequestRefused(504, f"runner {wanted} does not answer; look at its log.") from None
    return last


def _runners(model: ReadModel) -> dict[str, shapes.Runner]:
    return {runner.id: runner for runner in queries.runners(model)}
