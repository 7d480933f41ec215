"""The answers of the routes that start or change a run."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import Final

from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.ids import RunId
from fastflow_gateway.actions.waits import WAITS
from fastflow_gateway.http.requests import answer
from fastflow_gateway.http.waiting import Wait, has_left, holding
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.model import MODEL, ReadModel
from fastflow_gateway.readmodel.run_index import KnownRun
from fastflow_gateway.views import run_shapes
from fastflow_gateway.views.waiting import held_by

STARTED: Final = {
    200: (shapes.Run, shapes.RunWithResult),
    202: shapes.Accepted,
    **dict.fromkeys((404, 409, 413, 422, 429), shapes.Error),
}
"""The answers of every route that starts a run. One that waits answers with a run that is over, and its result."""


def run_answer(
    request: web.Request, known: KnownRun | RunId, *, later: str = "the trigger is stored and becomes this run"
) -> web.Response:
    """Build the answer to a request that starts or changes a run.

    Args:
        known: The run, which is answered with 200; or only its id, which is answered with 202. A run that a pause
            holds is answered with 202, too.
        later: What happens next, for the text of a 202.
    """
    if isinstance(known, KnownRun):
        shown = queries.run(request.app[MODEL], known.run)
        if held_by(known.run, request.app[MODEL].pauses.now) is None:
            return answer(shown)
        return _accepted(known.run.id, f"the run is kept, and waits for {shown.waiting_on}")
    return _accepted(known, f"no scheduler has answered yet: {later}; GET /api/runs/{known} shows it.")


async def start_answer(request: web.Request, known: KnownRun | RunId, wait: Wait) -> web.Response:
    """Build the answer to a request that starts a run, when the run is over or the wait is.

    Raises ``ConnectionResetError`` if the client leaves before. The run goes on.
    """
    if not wait.seconds:
        return run_answer(request, known)
    model, run_id = request.app[MODEL], known.run.id if isinstance(known, KnownRun) else known
    ended = known if isinstance(known, KnownRun) and known.run.is_over else None
    if ended is None:
        wake = asyncio.Event()
        with holding(request, wake):
            ended = await request.app[WAITS].end_of(
                run_id, wait.deadline_s, wake=wake, is_gone=partial(has_left, request)
            )
        if has_left(request):
            raise ConnectionResetError("the client has left")
    response = _accepted(run_id, _not_over(model, run_id))
    if ended is not None:
        with suppress(BusError):  # the caller must not lose the id now
            shown, result = queries.run(model, ended.run), await model.result(ended.run)
            response = answer(run_shapes.with_result(shown, result))
    response.headers.update(wait.headers)
    return response


def _not_over(model: ReadModel, run_id: RunId) -> str:
    known = model.runs.get(run_id)
    if known is not None and held_by(known.run, model.pauses.now) is not None:
        return f"the run is kept, and waits for {queries.run(model, known.run).waiting_on}"
    return f"the run is not over yet; it goes on, and GET /api/runs/{run_id} shows it."


def _accepted(run_id: RunId, detail: str) -> web.Response:
    accepted = shapes.Accepted(id=run_id, detail=detail)
    return answer(accepted, status=202, headers={"Location": f"/api/runs/{run_id}"})
