"""Pins and unpins versions of a pipeline. A refusal is ``RequestRefused``. I/O.

A pin is one compare-and-set of the pipeline's record, which makes the version live too. The syncers' part of the record
stays as they wrote it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import web

from fastflow_contracts.bus.decoding import Unreadable
from fastflow_contracts.bus.errors import RevisionConflict
from fastflow_contracts.clock import now
from fastflow_contracts.log import get_logger
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.records import Pin, PipelineRecord
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.pipelines.versions import not_kept, pinned, unpinned, version_id
from fastflow_contracts.runs.run import TriggeredBy
from fastflow_gateway import app_keys
from fastflow_gateway.errors import RequestRefused, no_pipeline
from fastflow_gateway.readmodel.model import MODEL

log = get_logger(__name__)

CONFLICTS_MAX: Final = 20


async def pin(
    app: web.Application, name: PipelineName, version: str, *, by: TriggeredBy, reason: str = ""
) -> PipelineRecord:
    """Make *version* live, and keep it live. Safe to repeat.

    Returns:
        The record as stored now.

    Raises:
        RequestRefused: The pipeline does not exist, or the version is not kept.
        BusError: The bus fails.
    """
    kept = await PipelineStore(app[app_keys.BUS]).version(name, version)
    if kept is None:
        raise RequestRefused(404, not_kept(name, version))
    wanted = Pin(bundle=kept.version.bundle, at=now(), by=by, reason=reason.strip())
    record = await _change(app, name, lambda record: pinned(record, kept.version, wanted))
    log.info("version pinned", pipeline=name, version=version_id(wanted.bundle), by=by)
    return record


async def unpin(app: web.Application, name: PipelineName) -> PipelineRecord:
    """Remove the pin. The newest version becomes live, unless it was rolled back.

    Returns:
        The record as stored now.

    Raises:
        RequestRefused: The pipeline does not exist, or is not pinned.
        BusError: The bus fails.
    """
    kept = {each.version.bundle: each.version for each in await app[MODEL].versions_of(name)}

    def change(record: PipelineRecord) -> PipelineRecord:
        if record.pin is None:
            raise RequestRefused(409, f"{name} is not pinned.")
        return unpinned(record, kept.get(record.held_back), now())

    record = await _change(app, name, change)
    log.info("version unpinned", pipeline=name, live=version_id(record.live.bundle) if record.live else "")
    return record


async def _change(
    app: web.Application, name: PipelineName, change: Callable[[PipelineRecord], PipelineRecord]
) -> PipelineRecord:
    def decide(record: PipelineRecord | None) -> PipelineRecord:
        if record is None or record.removed_at is not None:
            raise no_pipeline(name)
        return change(record)

    records = PipelineStore(app[app_keys.BUS]).records
    try:
        stored = await records.change(name, decide, changes_max=CONFLICTS_MAX, keep_unreadable=True)
    except Unreadable as error:
        raise RequestRefused(409, f"the record of {name} cannot be read; the next sync replaces it.") from error
    except RevisionConflict as error:
        raise RequestRefused(503, f"{name} changed at the same time; try again.") from error
    assert stored.value is not None
    app[MODEL].put_pipeline(stored.value, stored.revision)  # the next reader sees it even if the feed is late
    return stored.value
