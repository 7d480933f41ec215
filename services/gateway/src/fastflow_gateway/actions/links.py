"""Make and remove downstream triggers through the API. A refusal is ``RequestRefused``. I/O.

The API's links of one pipeline are one stored set. It changes by compare-and-set, so no gateway undoes the work of
another. The links of the metadata belong to the syncer: this module only reads them.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from aiohttp import web
from msgspec.structs import replace

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.decoding import Unreadable
from fastflow_contracts.bus.errors import RevisionConflict
from fastflow_contracts.bus.subjects import LINKS
from fastflow_contracts.names import BadName, PipelineName, check_name
from fastflow_contracts.pipelines.format.spec import NoSuchRunConfig
from fastflow_contracts.pipelines.links import Link, LinkSet
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.pipelines.route import ROUTE_CHARACTERS_MAX, ROUTE_PATTERN
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_gateway import app_keys
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.readmodel.model import MODEL

LINKS_MAX = 100
"""Links of one pipeline that the API may make."""
CONFLICTS_MAX = 20

Change = Callable[[tuple[Link, ...]], tuple[Link, ...]]


async def make(
    app: web.Application,
    record: PipelineRecord,
    target: str,
    run_config_id: str | None,
    *,
    on_route: str | None = None,
    needs_artifacts: bool = False,
    success: bool,
    failure: bool,
) -> tuple[Link, bool]:
    """Start *target* after the runs of *record*. For a known target and route, change when it starts.

    Returns:
        The link that applies now, and whether it is new.

    Raises:
        RequestRefused: The link could never start anything, or the pipeline has too many links.
        BusError: The bus did not store it.
    """
    link = Link(
        pipeline=await _target(app, target, run_config_id),
        on_success=success,
        on_failure=failure,
        run_config_id=run_config_id,
        on_route=_route(on_route),
        needs_artifacts=needs_artifacts,
    )
    if not (success or failure):
        raise RequestRefused(
            422, "on_success and on_failure are both false, so nothing would ever start; set one of them."
        )
    is_new = True

    def add(links: tuple[Link, ...]) -> tuple[Link, ...]:
        nonlocal is_new
        others = tuple(each for each in links if each.id != link.id)
        is_new = len(others) == len(links)
        if len(others) >= LINKS_MAX:
            raise RequestRefused(
                409, f"{record.name} has {len(others)} downstream triggers from the API; remove one first."
            )
        return (*others, link)

    await _change(app, record.name, add)
    return next(each for each in app[MODEL].links.of(record) if each.id == link.id), is_new


async def remove(app: web.Application, record: PipelineRecord, link_id: str) -> None:
    """Remove a link of the API. If the metadata declare it too, it stays as declared there."""

    def take_away(links: tuple[Link, ...]) -> tuple[Link, ...]:
        others = tuple(each for each in links if each.id != link_id)
        if len(others) == len(links):
            raise _not_ours(app, record, link_id)
        return others

    await _change(app, record.name, take_away)


async def _change(app: web.Application, pipeline: PipelineName, change: Change) -> None:
    def changed(stored: LinkSet | None) -> LinkSet:
        stored = stored or LinkSet()
        return replace(stored, links=change(stored.links))

    link_sets = PipelineStore(app[app_keys.BUS]).link_sets
    try:
        stored, revision = await link_sets.change(pipeline, changed, changes_max=CONFLICTS_MAX, keep_unreadable=True)
    except Unreadable as error:
        key = subjects.links_key(pipeline)
        raise RequestRefused(
            409,
            f"the stored triggers ({key} in {LINKS}) cannot be read, so they cannot be changed; delete that key first.",
        ) from error
    except RevisionConflict as error:
        raise RequestRefused(503, "these triggers changed at the same time; try again.") from error
    assert stored is not None
    app[MODEL].links.put(pipeline, stored, revision)  # the next reader sees the change even if the feed is late


async def _target(app: web.Application, name: str, run_config_id: str | None) -> PipelineName:
    try:
        checked = check_name(name)
    except BadName as error:
        raise RequestRefused(422, f"pipeline: {error}") from error
    record = await app[MODEL].pipeline(checked)
    if record is None:
        raise RequestRefused(422, f"there is no pipeline {checked} to start; GET /api/pipelines lists all pipelines.")
    if record.live is None:
        return checked  # its configurations are not known yet
    try:
        record.live.spec.run_config(run_config_id)
    except NoSuchRunConfig as error:
        raise RequestRefused(422, f"run_config_id of {checked}: {error}") from error
    return checked


def _route(label: str | None) -> str | None:
    if not label or re.fullmatch(ROUTE_PATTERN, label):
        return label or None
    raise RequestRefused(
        422, f"on_route: a label has 1 to {ROUTE_CHARACTERS_MAX} printable characters, without spaces around it."
    )


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
