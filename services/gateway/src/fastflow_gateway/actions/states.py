"""Reads and resets the states of pipelines. A refusal is ``RequestRefused``. I/O."""

from __future__ import annotations

from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.bus.decoding import Unreadable
from fastflow_contracts.bus.errors import Rejected, RevisionConflict
from fastflow_contracts.clock import now
from fastflow_contracts.log import get_logger
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.run import TriggeredBy
from fastflow_contracts.runs.state.head import StateHead
from fastflow_contracts.runs.state.store import StateStore
from fastflow_gateway import app_keys
from fastflow_gateway.errors import RequestRefused, no_pipeline
from fastflow_gateway.readmodel.model import MODEL

log = get_logger(__name__)


async def state_of(app: web.Application, name: PipelineName) -> shapes.PipelineState:
    """Return the states of a pipeline, also of a removed one. Raises ``RequestRefused`` and ``BusError``."""
    return await _shown(app, name, await _head(app, name))


async def archive(app: web.Application, name: PipelineName, number: str) -> bytes:
    """Return the files of one version. Raises ``RequestRefused`` and ``BusError``."""
    head = await _head(app, name)
    wanted = head.version(int(number)) if number.isascii() and number.isdecimal() and len(number) < 16 else None
    if wanted is None:
        raise RequestRefused(404, f"no version {number[:20]!r} of the state of {name} is kept; list those that are.")
    if not wanted.archive:
        raise RequestRefused(404, f"version {wanted.number} of the state of {name} has no files.")
    try:
        return await StateStore(app[app_keys.BUS]).archive(wanted)
    except Rejected as error:
        raise RequestRefused(404, f"version {wanted.number} of the state of {name} is gone or damaged.") from error


async def reset(app: web.Application, name: PipelineName, *, by: TriggeredBy) -> shapes.PipelineState:
    """Make an empty state current. Raises ``RequestRefused`` and ``BusError``."""
    try:
        head = await StateStore(app[app_keys.BUS]).reset(name, by=by, at=now())
    except RevisionConflict as error:
        raise RequestRefused(503, str(error)) from error
    log.info("state emptied", pipeline=name, version=head.number, by=by)
    return await _shown(app, name, head)


async def _head(app: web.Application, name: PipelineName) -> StateHead:
    try:
        return await StateStore(app[app_keys.BUS]).head(name)
    except Unreadable as error:
        raise RequestRefused(409, f"the record of the state of {name} cannot be read; reset the state.") from error


async def _shown(app: web.Application, name: PipelineName, head: StateHead) -> shapes.PipelineState:
    record = await app[MODEL].pipeline(name)
    if record is None and not head.versions:
        raise no_pipeline(name)
    return shapes.PipelineState(
        pipeline_name=name,
        is_kept=record is not None and record.live is not None and record.live.spec.state,
        versions=tuple(
            shapes.StateVersion(
                number=each.number,
                is_current=each.number == head.number,
                at=each.at,
                run_id=each.run_id,
                attempt=each.attempt,
                by=each.by,
                files=each.files,
                size_bytes=each.size_bytes,
            )
            for each in head.versions
        ),
    )
