"""What a run passes on to the runs that follow it: how it ended, its route and its result. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from fastflow_contracts.runs.artifacts.manifest import StoredArtifact
from fastflow_contracts.runs.result import raw
from fastflow_contracts.runs.run import ArtifactsOf, Ended, ParentRun, RunRecord

FINISHED_TYPE = "fastflow.run.finished"


def route_of(run: RunRecord) -> str | None:
    """The label that the last attempt wrote."""
    return run.attempts[-1].route if run.attempts else None


def parent_run(run: RunRecord, *, artifacts_of: ArtifactsOf | None = None) -> ParentRun:
    """How *run* ended, for a run that follows it. *artifacts_of*: whose artifacts that one needs."""
    last = run.attempts[-1] if run.attempts else None
    return ParentRun(
        run_id=run.id,
        pipeline=run.pipeline,
        status=run.status,
        exit_code=last.exit_code if last else None,
        error_type=last.error_type if last else None,
        error_message=last.error_message if last else None,
        artifacts_of=artifacts_of,
    )


def finished_event(run: RunRecord, result: bytes | None = None, artifacts: Iterable[StoredArtifact] = ()) -> bytes:
    """The end of *run*, which must be over, as a CloudEvent in JSON. Its fields are named as in the HTTP API.

    Args:
        run: The run.
        result: Its result, as JSON.
        artifacts: The files that it left.
    """
    assert isinstance(run.state, Ended)
    parent, order = parent_run(run), run.order
    started = next((each.started_at for each in run.attempts if each.started_at), None)
    data = {
        "id": run.id,
        "pipeline_name": run.pipeline,
        "status": parent.status,
        "exit_code": parent.exit_code,
        "error_type": parent.error_type,
        "error_message": parent.error_message,
        "route": route_of(run),
        "triggered_by": order.triggered_by,
        "run_config_id": order.run_config_id,
        "schedule": order.schedule,
        "scheduled_for": order.scheduled_for,
        "parent_run_id": order.parent_run_id,
        "root_run_id": run.root_run_id,
        "created_at": run.created_at,
        "started_at": started,
        "finished_at": run.state.at,
        "attempt": len(run.attempts),
        "commit": order.commit,
        "bundle": order.bundle,
        "kind": order.kind,
    }
    event = {
        "specversion": "1.0",
        "type": FINISHED_TYPE,
        "source": f"fastflow/pipelines/{run.pipeline}",
        "id": run.id,
        "time": run.state.at,
        "datacontenttype": "application/json",
        "data": {"run": data, "artifacts": msgspec.to_builtins(tuple(artifacts)), "result": raw(result)},
    }
    return msgspec.json.encode(event)
