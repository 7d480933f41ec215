"""Pause and resume the installation or one pipeline. A refusal is ``RequestRefused``. I/O.

The pause counts from the moment that it is stored: each runner reads it after its claim and before it begins a run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from aiohttp import web

from fastflow_contracts.bus.errors import RevisionConflict
from fastflow_contracts.bus.subjects import PAUSE_KEY
from fastflow_contracts.clock import now
from fastflow_contracts.log import get_logger
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.pauses import (
    BY_CHARACTERS_MAX,
    NOT_PAUSED,
    PIPELINES_MAX,
    REASON_CHARACTERS_MAX,
    PauseRecord,
    PauseSet,
    pause_sets,
)
from fastflow_gateway import app_keys
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.readmodel.model import MODEL

log = get_logger(__name__)

CHANGES_MAX = 20


async def pause(
    app: web.Application, pipeline: PipelineName | None, *, reason: str, by: str, via: Literal["manual", "api"]
) -> PauseRecord:
    """Hold the runs of *pipeline* that have not begun; None: those of all pipelines.

    What is paused already gets the new reason, and stays paused since the time that it was.

    Args:
        app: The gateway.
        pipeline: A pipeline that exists.
        reason: Why; see ``REASON_CHARACTERS_MAX``.
        by: Who, as they call themselves; may be empty.
        via: How they asked.

    Returns:
        The pause, once it is stored: no run begins from then on.

    Raises:
        RequestRefused: The reason or the name cannot be shown (422), or too many pipelines are paused (409).
        BusError: The bus did not store it.
    """
    why = _line("reason", reason, REASON_CHARACTERS_MAX)
    if not why:
        raise RequestRefused(422, "reason: say why, for everyone who wonders why nothing starts.")
    new = PauseRecord(reason=why, by=_line("by", by, BY_CHARACTERS_MAX), via=via, at=now())

    def paused(stored: PauseSet | None) -> PauseSet:
        known = stored or NOT_PAUSED
        former = known.own(pipeline)
        if former is None and pipeline is not None and len(known.pipelines) >= PIPELINES_MAX:
            raise RequestRefused(
                409, f"{PIPELINES_MAX} pipelines are paused one by one; resume some, or pause the installation."
            )
        at = new.at if former is None else former.at
        return known.with_pause(pipeline, PauseRecord(reason=new.reason, by=new.by, via=new.via, at=at))

    found = (await _change(app, paused)).own(pipeline)
    assert found is not None
    log.info("new runs paused", pipeline=pipeline, reason=found.reason, by=found.by)
    return found


async def resume(app: web.Application, pipeline: PipelineName | None) -> PauseSet:
    """End the pause of *pipeline*, or of the installation. Returns what is still paused. Raises as ``pause``."""
    left = await _change(app, lambda stored: (stored or NOT_PAUSED).with_pause(pipeline, None))
    log.info("new runs resumed", pipeline=pipeline)
    return left


async def _change(app: web.Application, decide: Callable[[PauseSet | None], PauseSet]) -> PauseSet:
    try:
        stored, revision = await pause_sets(app[app_keys.BUS]).change(PAUSE_KEY, decide, changes_max=CHANGES_MAX)
    except RevisionConflict as error:
        raise RequestRefused(503, "others pause and resume at the same time; try again.") from error
    assert stored is not None
    app[MODEL].pauses.put(stored, revision)  # the next reader sees the change even if the feed is late
    return stored


def _line(field: str, text: str, most: int) -> str:
    """Return *text* as one line. Raises ``RequestRefused``."""
    line = " ".join(text.split())
    if len(line) > most or not line.isprintable():
        raise RequestRefused(422, f"{field}: write one line of at most {most} printable characters.")
    return line
