"""Making and removing downstream triggers through the API. Each refuses with ``RequestRefused``. I/O.

The links that one pipeline got through the API are one stored set, changed by compare-and-set, so that no gateway
undoes what another one did. Links of the metadata are the syncer's: here they are only read.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from aiohttp import web
from msgspec.structs import replace

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.decoding import decoded
from fastflow_contracts.bus.errors import Conflict
from fastflow_contracts.bus.subjects import LINKS
from fastflow_contracts.names import BadName, PipelineName, check_name
from fastflow_contracts.pipelines.links import LINK_SET, Link, LinkSet
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.pipelines.spec import NoSuchRunConfig
from fastflow_gateway import app_keys
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.readmodel.model import MODEL

LINKS_MAX = 100
"""Of one pipeline, made through the API."""
CONFLICTS_MAX = 20

Change = Callable[[tuple[Link, ...]], tuple[Link, ...]]


async def make(
    app: web.Application,
    record: PipelineRecord,
    target: str,
    run_config_id: str | None,
    *,
    success: bool,
    failure: bool,
) -> tuple[Link, bool]:
    """Let *target* follow *record*'s runs; the same target again only changes when it does.

    Returns the link as it is followed now, and whether it is new.
    """
    link = Link(
        pipeline=await _target(app, target, run_config_id),
        on_success=success,
        on_failure=failure,
        run_config_id=run_config_id,
    )
    if not (success or failure):
        raise RequestRefused(
            422, "on_success and on_failure are both false: it would never start anything; set one of them."
        )
    is_new = True

    def add(links: tuple[Link, ...]) -> tuple[Link, ...]:
        nonlocal is_new
        others = tuple(each for each in links if each.id != link.id)
        is_new = len(others) == len(links)
        if len(others) >= LINKS_MAX:
            raise RequestRefused(
                409, f"{record.name} has {len(others)} downstream triggers by the API; remove one first."
            )
        return (*others, link)

    await _change(app, record.name, add)
    return next(each for each in app[MODEL].links.of(record) if each.id == link.id), is_new


async def remove(app: web.Application, record: PipelineRecord, link_id: str) -> None:
    """Take away what the API made. A link that the metadata declare as well stays as they declare it."""

    def take_away(links: tuple[Link, ...]) -> tuple[Link, ...]:
        others = tuple(each for each in links if each.id != link_id)
        if len(others) == len(links):
            raise _not_ours(app, record, link_id)
        return others

    await _change(app, record.name, take_away)


async def _change(app: web.Application, pipeline: PipelineName, change: Change) -> None:
    bus, key = app[app_keys.BUS], subjects.links_key(pipeline)
    for _ in range(CONFLICTS_MAX):
        entry = await bus.get(LINKS, key)
        stored = _stored(entry.value, key) if entry else LinkSet()
        wanted = replace(stored, links=change(stored.links), write_id=uuid.uuid4().hex)
        try:
            revision = await bus.put(LINKS, key, LINK_SET.encode(wanted), expect=entry.revision if entry else 0)
        except Conflict:
            continue
        app[MODEL].links.put(pipeline, wanted, revision)  # the next reader sees it, however late the feed is
        return
    raise RequestRefused(503, "others change these triggers all the time; try again.")


def _stored(data: bytes, key: str) -> LinkSet:
    stored = decoded(LINK_SET, data, where=key)
    if stored is None:
        raise RequestRefused(
            409,
            f"the stored triggers ({key} in {LINKS}) cannot be read, so they cannot be changed; delete that key first.",
        )
    return stored


async def _target(app: web.Application, name: str, run_config_id: str | None) -> PipelineName:
    try:
        checked = check_name(name)
    except BadName as error:
        raise RequestRefused(422, f"pipeline: {error}") from error
    record = await app[MODEL].pipeline(checked)
    if record is None:
        raise RequestRefused(422, f"there is no pipeline {checked} to start; GET /api/pipelines lists those there are.")
    if record.live is None:
        return checked  # which configurations it will have nobody knows yet
    try:
        record.live.spec.run_config(run_config_id)
    except NoSuchRunConfig as error:
        raise RequestRefused(422, f"run_config_id of {checked}: {error}") from error
    return checked


def _not_ours(app: web.Application, record: PipelineRecord, link_id: str) -> RequestRefused:
    for link in app[MODEL].links.of(record):
        if link.id == link_id:
            return RequestRefused(
                409,
                f"{link.pipeline} is started by {record.name}'s own metadata; "
                f'remove it from "downstream_triggers" in the pipeline.json of {record.name}.',
            )
    return RequestRefused(
        404,
        f"{record.name} has no downstream trigger {link_id[:200]!r}; "
        f"GET /api/pipelines/{record.name}/downstream-triggers lists them.",
    )
