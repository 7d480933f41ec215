"""The queries that the API and the pages share.

They also look up what a request names by text: a text that names nothing is a ``RequestRefused``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from fastflow_api import shapes
from fastflow_api.formatting import SHORT_ID_CHARACTERS
from fastflow_contracts.bus.subjects import parse_job_id
from fastflow_contracts.clock import now
from fastflow_contracts.ids import BadRunId, RunId, check_run_id
from fastflow_contracts.names import BadName, BadToken, PipelineName, check_name
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.runs.presence import Presence
from fastflow_contracts.runs.run import RunRecord
from fastflow_gateway.errors import RequestRefused, no_pipeline
from fastflow_gateway.readmodel.bundle_files import BundleFiles
from fastflow_gateway.readmodel.model import ReadModel
from fastflow_gateway.readmodel.run_index import BadCursor, KnownRun, RunFilter
from fastflow_gateway.views import graph, jobs, pipeline_shapes, run_shapes, sync_shapes
from fastflow_gateway.views.search import matches

ID_CHARACTERS: Final = 36


def pipeline_name(text: str) -> PipelineName:
    """Parse a pipeline name. Raises ``RequestRefused`` (404): an invalid name has no pipeline."""
    try:
        return check_name(text)
    except BadName:
        raise no_pipeline(text) from None


async def pipeline_named(model: ReadModel, text: str) -> PipelineRecord:
    """Find a pipeline by name. Raises ``RequestRefused`` if there is none, or ``BusError``."""
    record = await model.pipeline(pipeline_name(text))
    if record is None:
        raise no_pipeline(text)
    return record


async def name_with_runs(model: ReadModel, text: str) -> PipelineName:
    """The name of a pipeline that exists or ever had a run: the runs of a removed one stay readable.

    Raises ``RequestRefused`` for any other name, or ``BusError``.
    """
    name = pipeline_name(text)
    if not model.runs.counts(name).total:
        await pipeline_named(model, text)
    return name


async def run_with_id(model: ReadModel, text: str) -> KnownRun:
    """Find a run by id. Raises ``RequestRefused`` if there is none, or ``BusError``."""
    try:
        known = await model.run(check_run_id(text))
    except BadRunId as error:
        raise RequestRefused(404, str(error)) from error
    if known is None:
        if skip := model.skips.get(check_run_id(text)):
            raise RequestRefused(404, f"run {text} was never started: {skip.reason} GET /api/skipped/{text} shows it.")
        raise RequestRefused(404, f"there is no run {text}; GET /api/runs lists all runs.")
    return known


def whole_id(model: ReadModel, text: str) -> RunId | None:
    """The id of the known run whose id begins with *text*; None if that is too short, a whole id, or none's beginning.

    Raises ``RequestRefused`` if several do.
    """
    if not SHORT_ID_CHARACTERS <= len(text) < ID_CHARACTERS:
        return None
    found = model.runs.ids_beginning(text.lower())
    if len(found) > 1:
        raise RequestRefused(404, f"the ids of {len(found)} runs begin with {text!r}; GET /api/runs/ids lists them.")
    return found[0] if found else None


async def notebook_run(model: ReadModel, text: str) -> RunRecord:
    """Find a notebook's run by id. Raises ``RequestRefused`` if there is none, or ``BusError``."""
    run = (await run_with_id(model, text)).run
    if run.order.kind != "notebook":
        raise RequestRefused(404, f"run {run.id} ran a script, which has no cells.")
    return run


async def job_with_id(model: ReadModel, text: str) -> jobs.KnownJob:
    """Find a job by id. Raises ``RequestRefused`` if there is none, or ``BusError``."""
    try:
        wanted = parse_job_id(text)
        record = await model.pipeline(check_name(wanted.pipeline))
    except (BadName, BadToken):
        raise _no_job(text) from None
    for known in known_jobs(model, [record] if record else []):
        if known.job == wanted:
            return known
    raise _no_job(text)


def pipelines(model: ReadModel, *, last_runs: int) -> list[shapes.Pipeline]:
    """All pipelines by name, each with its newest *last_runs* runs."""
    return [pipeline(model, record, last_runs=last_runs) for record in model.pipelines()]


def pipeline(model: ReadModel, record: PipelineRecord, *, last_runs: int) -> shapes.Pipeline:
    """One pipeline with its newest *last_runs* runs."""
    return pipeline_shapes.pipeline(
        record,
        counts=model.runs.counts(record.name),
        last_runs=model.runs.latest(record.name, last_runs),
        crashes=model.crashes(record.name, now()),
        paused=model.pauses.now.own(record.name),
        cursors=model.cursors,
    )


def search(listed: Iterable[shapes.Pipeline], *, q: str, tags: Collection[str]) -> list[shapes.Pipeline]:
    """The pipelines that the search finds (see ``views.search.matches``)."""
    return [pipeline for pipeline in listed if matches(pipeline, q=q, tags=tags)]


async def pipeline_detail(
    model: ReadModel, files: BundleFiles, record: PipelineRecord, *, last_runs: int, skips: int
) -> shapes.PipelineDetail:
    """One pipeline with its files, its newest *last_runs* runs and *skips* skips. Raises ``BusError``."""
    return pipeline_shapes.pipeline_detail(
        record,
        counts=model.runs.counts(record.name),
        last_runs=model.runs.latest(record.name, last_runs),
        crashes=model.crashes(record.name, now()),
        paused=model.pauses.now.own(record.name),
        files=await files.texts(record),
        skips=model.skips.of(record.name, skips),
        cursors=model.cursors,
    )


def run(model: ReadModel, record: RunRecord) -> shapes.Run:
    """One run as it is now."""
    return runs(model, [record])[0]


def runs(model: ReadModel, found: Sequence[RunRecord]) -> tuple[shapes.Run, ...]:
    """Runs as they are now."""
    at = now()
    capacity = model.capacity(at)
    return tuple(run_shapes.run(each, capacity=capacity, now=at) for each in found)


def run_page(model: ReadModel, filters: RunFilter, *, limit: int, cursor: str | None) -> shapes.RunPage:
    """The *limit* newest runs that match, from *cursor* on. Raises ``RequestRefused`` for an invalid cursor."""
    try:
        found, older = model.runs.page(filters, limit=limit, cursor=cursor)
    except BadCursor as error:
        raise RequestRefused(422, str(error)) from error
    return shapes.RunPage(runs=runs(model, found), next_cursor=older)


def newest_run(model: ReadModel, pipeline: str) -> RunRecord | None:
    """The newest known run of a pipeline."""
    return next(iter(model.runs.latest(pipeline, 1)), None)


def stats(model: ReadModel, name: PipelineName) -> shapes.Stats:
    """The totals of one pipeline."""
    return pipeline_shapes.stats(name, model.runs.counts(name), newest_run(model, name))


def daily_stats(model: ReadModel, name: PipelineName, *, days: int) -> shapes.DailyStats:
    """The totals of one pipeline by day (UTC), over *days* days including today."""
    return pipeline_shapes.daily_stats(name, model.runs.counts(name), today=now().date(), days=days)


def sync_status(model: ReadModel) -> shapes.SyncStatus:
    """What is live, and the outcome of the last sync."""
    return sync_shapes.sync_status(model.sync)


def sync_logs(model: ReadModel) -> shapes.SyncLogs:
    """The last syncs, newest first."""
    return sync_shapes.sync_logs(model.sync)


def known_jobs(model: ReadModel, of: Iterable[PipelineRecord]) -> list[jobs.KnownJob]:
    """The jobs of these pipelines, as they are now."""
    known = jobs.known_jobs(of, model.schedule_states, model.switches.off, model.pauses.now)
    return jobs.listed(known, now())


async def all_jobs(model: ReadModel) -> list[jobs.Job]:
    """All jobs, sorted by pipeline."""
    known, moment = known_jobs(model, model.pipelines()), now()
    # Ten thousand jobs take half a second.
    return await asyncio.to_thread(lambda: [jobs.job(each, moment) for each in known])


def whole_graph(model: ReadModel) -> graph.Graph:
    """All pipelines, and which starts which."""
    return graph.graph(model.pipelines(), links_of=model.links.of, latest=lambda name: newest_run(model, name))


def runners(model: ReadModel) -> tuple[shapes.Runner, ...]:
    """The runners that are alive, sorted by name."""
    return tuple(_runner(presence) for presence in sorted(model.runners(now()), key=lambda each: each.runner))


def _runner(presence: Presence) -> shapes.Runner:
    return shapes.Runner(
        id=presence.runner,
        host=presence.host,
        version=presence.version,
        sandbox=presence.sandbox,
        sandbox_reason=presence.sandbox_reason,
        kinds=presence.kinds,
        slots=presence.slots,
        busy=presence.busy,
        load=presence.load,
        environments=presence.environments,
        leaving=presence.leaving,
        paused=presence.paused,
        unenforced=presence.unenforced,
        degraded=presence.degraded,
        started_at=presence.started_at,
        seen_at=presence.seen_at,
    )


def _no_job(text: str) -> RequestRefused:
    return RequestRefused(404, f"there is no job {text[:200]!r}; GET /api/scheduler/jobs lists them.")
