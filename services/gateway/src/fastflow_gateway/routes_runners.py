"""Runners: which are alive, how much they hold."""

from __future__ import annotations

from aiohttp import web

from fastflow_contracts.messages import Presence
from fastflow_contracts.service import now
from fastflow_gateway import keys, shapes
from fastflow_gateway.api import Route, answer
from fastflow_gateway.readmodel import ReadModel


async def list_runners(request: web.Request) -> web.Response:
    return answer(shapes.Runners(runners=alive(request.app[keys.MODEL])))


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


ROUTES = (Route("GET", "/api/runners", list_runners, "The runners that are alive.", {200: shapes.Runners}),)
