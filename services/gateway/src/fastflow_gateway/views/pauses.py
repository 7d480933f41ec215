"""Turns pauses into ``shapes``. Pure."""

from __future__ import annotations

from fastflow_api import shapes
from fastflow_contracts.pipelines.pauses import PauseRecord, PauseSet


def pause(record: PauseRecord) -> shapes.Pause:
    return shapes.Pause(reason=record.reason, by=record.by, via=record.via, since=record.at)


def pauses(known: PauseSet) -> shapes.Pauses:
    """All pauses, pipelines by name."""
    return shapes.Pauses(
        installation=pause(known.installation) if known.installation else None,
        pipelines={name: pause(each) for name, each in sorted(known.pipelines.items())},
    )
