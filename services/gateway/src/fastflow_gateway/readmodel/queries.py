"""TODO."""

from __future__ import annotations

import asyncio

from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.clock import now
from fastflow_contracts.runs.presence import Presence
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.readmodel.model import MODEL, ReadModel
from fastflow_gateway.readmodel.run_index import BadCursor, RunFilter
from fastflow_gateway.views import graph, jobs, records


def run_page(model: ReadModel, filters: RunFilter, *, limit: int, cursor: str | None) -> shapes.RunPage:
    """The runs that match, newest first, from *cursor* on. Raises ``RequestRefused``."""
    try:
        found, older = model.runs.page(filters, limit=limit, cursor=cursor)
    except BadCursor as error:
        raise RequestRefused(422, str(error)) from error
    at = now()
    capacity = model.capacity(at)
    return shapes.RunPage(runs=tuple(records.run(run, capacity=capacity, now=at) for run in found), next_cursor=older)


async def all_jobs(app: web.Application) -> list[jobs.Job]:
    """Every job, by pipeline."""
    model, moment = app[MODEL], now()
    known = jobs.listed(jobs.known_jobs(model.pipelines(), model.schedule_states, model.switches.off), moment)
    # Ten thousand of them take half a second.
    return await asyncio.to_thread(lambda: [jobs.job(each, moment) for each in known])


def whole_graph(model: ReadModel) -> graph.Graph:
    """All pipelines and what follows what, as known now."""
    history = model.runs
    return graph.graph(
        model.pipelines(),
        links_of=model.links.of,
        latest=lambda name: next(iter(history.latest(name, 1)), None),
    )


def alive(model: ReadModel) -> tuple[shapes.Runner, ...]:
    """Those that were heard of lately, by name."""
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
        started_at=presence.started_at,
        seen_at=presence.seen_at,
    )
