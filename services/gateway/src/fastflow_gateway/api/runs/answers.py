"""The answers of the routes that start or change a run."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.ids import RunId
from fastflow_gateway.http.requests import answer
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.run_index import KnownRun
from fastflow_gateway.views.waiting import held_by

STARTED: Final = {200: shapes.Run, 202: shapes.Accepted} | dict.fromkeys((404, 409, 413, 422, 429), shapes.Error)
"""The answers of every route that starts a run."""


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


def _accepted(run_id: RunId, detail: str) -> web.Response:
    accepted = shapes.Accepted(id=run_id, detail=detail)
    return answer(accepted, status=202, headers={"Location": f"/api/runs/{run_id}"})
