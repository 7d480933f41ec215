"""Turns operations into ``shapes``. Pure."""

from __future__ import annotations

from fastflow_api import shapes
from fastflow_contracts.runs.operations.records import OperationRecord


def operation(record: OperationRecord) -> shapes.Operation:
    return shapes.Operation(
        id=record.id,
        kind=record.kind,
        state=record.state,
        created_at=record.created_at,
        ended_at=record.ended_at,
        triggered_by=record.triggered_by,
        pipeline_name=record.pipeline,
        schedule=record.schedule,
        total=record.total,
        done=record.position,
        changed=record.changed,
        unchanged=record.unchanged,
        refused=record.refused,
        reasons=record.reasons,
        waiting_on=record.waiting_on or None,
    )
